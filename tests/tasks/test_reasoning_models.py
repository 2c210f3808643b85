"""A model that thinks, in each channel, through every built-in task at its defaults: nothing is cut, and
the scores are those of the same model without thinking."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalkit.collection.items import items_of
from evalkit.model import Model
from evalkit.models import load
from evalkit.models.baseline import BaselineBackend
from evalkit.models.openai.probe import QUESTION
from evalkit.models.spec import parse_spec
from evalkit.protocols import Backend, ProbeResult
from evalkit.run.samples import samples_of
from evalkit.run.scoring import score
from evalkit.run.session import Session
from evalkit.status import classify_answer
from evalkit.types import Answer, Message, Requirements, Sample, Text, ToolCall
from evalkit.util.progress import Silent
from tests.servers.thinking import CHANNELS, ThinkingModel, serve
from tests.tasks.test_every_task import NAMES, quick

SAMPLES = 2  # the first is answered perfectly, the second wrongly; both call the right tools
THINKS = 3000  # words: more than any task allows for its answer
WRONG = "zzz"


def said(message: Message) -> str:
    content = message.content
    return content if isinstance(content, str) else "".join(p.text for p in content if isinstance(p, Text))


def sent(body: dict[str, Any]) -> str:
    """The texts of a chat as a server gets them, in order; the model's own turns hold its thoughts."""
    contents = (message["content"] for message in body["messages"] if message["role"] != "assistant")
    parts = ([content] if isinstance(content, str) else content or [] for content in contents)
    return "".join(p if isinstance(p, str) else p.get("text", "") for part in parts for p in part)


def as_sent(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


class Trial:
    """The first samples of a task, and what a perfect model replies to their prompts: every second one."""

    def __init__(self, name: str, request: pytest.FixtureRequest) -> None:
        self.task, params = quick(name)
        if isinstance(params.get("data"), str):
            params["data"] = request.getfixturevalue("data") / params["data"]
        self.item = items_of(self.task, {key: [value] for key, value in params.items()}, None)[0]
        self.samples: list[Sample] = []
        self.replies: dict[str, str] = {}
        self.calls: dict[str, list[dict[str, Any]]] = {}
        self.thinker = ThinkingModel(
            answers=lambda body: self.replies.get(sent(body), "343"),
            calls=lambda body: self.calls.get(sent(body), []),
        )
        self.only_scored = False

    async def prepare(self, session: Session) -> None:
        async for sample in (await samples_of(self.item, session))():
            if len(self.samples) == SAMPLES:
                break
            self.samples.append(sample)
        arguments = await session.arguments(self.task.fn, self.item)
        fn = session.for_samples(self.item)
        self.ask = lambda sample, model: fn(sample=sample, model=model, **arguments)
        for n, sample in enumerate(self.samples):
            model = Model(BaselineBackend(parse_spec("baseline:gold"))).for_sample(sample)
            await self.ask(sample, model)
            for call in model.calls:
                self.only_scored |= call.request.continuation is not None
                prompt = "".join(said(m) for m in call.request.messages if m.role != "assistant")
                self.replies[prompt] = WRONG if n % 2 else call.response.text
                self.calls[prompt] = list(map(as_sent, call.response.tool_calls))

    async def run(self, backend: Backend, probed: ProbeResult) -> list[Answer]:
        answers = []
        for sample in self.samples:
            model = Model(backend, probed=probed).for_sample(sample)
            answers.append(await self.ask(sample, model))
            assert not any(call.response.finish_reason == "length" for call in model.calls)
        return answers

    def scores(self, answers: list[Answer]) -> list[Any]:
        return [
            score(self.task.metrics, sample, answer, classify_answer(answer))
            for sample, answer in zip(self.samples, answers, strict=True)
        ]


def content(answers: list[Answer]) -> list[Any]:
    """What an answer holds besides the reply's own facts: how long it took, how many tokens."""
    return [
        (classify_answer(answer), answer.choice, answer.ranked, answer.response.tool_calls)
        + (() if answer.response.tool_calls else (answer.reply, answer.response.text))
        for answer in answers
        if answer.response
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_every_task_at_its_defaults(name: str, request: pytest.FixtureRequest) -> None:
    trial = Trial(name, request)
    async with Session(Silent()) as session, session.running():
        await trial.prepare(session)
        if trial.only_scored:
            return  # it compares log-probabilities: nothing is written, and nothing thought
        with serve(trial.thinker) as thinker:
            answers = {}
            for channel in ("", *CHANNELS):
                thinker.channel, thinker.counts = channel or "hidden", bool(channel)
                thinker.thinks = thinks(channel)
                backend = load(f"openai:thinker@{thinker.url}")
                answers[channel] = await trial.run(backend, await backend.probe(Requirements()))
                await backend.close()
    assert all(sent(body) in trial.replies or QUESTION in sent(body) for body in thinker.bodies)
    for channel, given in answers.items():
        assert content(given) == content(answers[""]), channel
    assert trial.scores(answers["think"]) == trial.scores(answers[""])


def thinks(channel: str):
    """Words by request. A grammar that begins with the reply leaves no room for marks in the text."""

    def words(body: dict[str, Any]) -> int:
        constrained = "response_format" in body or "regex" in body
        in_text = channel not in ("reasoning_content", "reasoning", "reasoning_details", "hidden")
        if not channel or (constrained and in_text):
            return 0
        return 40 if QUESTION in str(body) else THINKS

    return words
