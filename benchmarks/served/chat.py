"""Checks of chat, completions, constraints, and refused requests."""

from __future__ import annotations

import argparse
import re

import msgspec

from benchmarks.served.common import connect, expect, refused
from evalkit.errors import RequestRejected
from evalkit.model import Model
from evalkit.types import Requirements, Response
from tests.servers.taught import SYSTEM

ANSWERS = {"What is the capital of France?": "Paris", "What is 2+2?": "4", "What is 3+5?": "8"}
# The chat of the question 2+2, as the models' chat template writes it.
PROMPT = (
    f"<|im_start|>system\n{SYSTEM}<|im_end|>\n"
    "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}


async def check_probe(args: argparse.Namespace) -> str:
    """Check the server's facts and all abilities that a task can require."""
    needs = Requirements(logprobs=True, images=args.images, json_schema=True, regex=True)
    async with connect(args, needs=needs) as model:
        facts = model.facts
    told = [f"{name} {facts.identity[name]}" for name in ("version", "dtype") if name in facts.identity]
    return ", ".join([*told, f"context {facts.max_context}"])


async def check_wrong_model(args: argparse.Namespace) -> str:
    """Check that the probe refuses a wrong model name, although some servers answer under any name."""
    other = argparse.Namespace(**{**vars(args), "model": "no-such-model"})
    return (await refused(other, Requirements())).partition(". ")[2][:60]


async def check_chat(args: argparse.Namespace) -> str:
    """Check chat, streamed and not streamed, with usage."""
    for params in ("", "?stream=true"):
        async with connect(args, params) as model:
            await right_answers(model, max_tokens=16)
    return f"{len(ANSWERS)} answers right, streamed and whole"


async def right_answers(model: Model, max_tokens: int) -> list[Response]:
    """Ask what the tiny models were taught; return the replies, which are right, whole, and counted."""
    replies = []
    for question, answer in ANSWERS.items():
        response = await model.generate(question, max_tokens=max_tokens)
        expect((response.text, response.finish_reason), (answer, "stop"))
        expect(response.usage.prompt_tokens > 0 and response.usage.completion_tokens > 0, True)
        replies.append(response)
    return replies


async def check_completions(args: argparse.Namespace) -> str:
    """Check plain prompts through /generate or /v1/completions, with the chat template written by hand."""
    async with connect(args, "?api=completions") as model:
        response = await model.generate(PROMPT, max_tokens=8)
        expect((response.text, response.finish_reason), ("4", "stop"))
        cut = await model.generate(PROMPT, max_tokens=1)
        expect(cut.finish_reason, "length")
    return f"answer right, {response.usage.prompt_tokens} prompt tokens"


async def check_constraints(args: argparse.Namespace) -> str:
    """Check JSON schema and regex, in chats and completions."""
    for params in ("", "?api=completions"):
        async with connect(args, params) as model:
            response = await model.generate("Give JSON.", max_tokens=200, json_schema=SCHEMA)
            if response.finish_reason == "stop":
                expect(type(msgspec.json.decode(response.text)["answer"]), int)
            else:  # a tiny model may continue with digits or blanks, which still fit the schema
                expect(bool(re.match(r'\s*\{\s*"answer"\s*:\s*-?\d*', response.text)), True)
            response = await model.generate("What is 2+2?", max_tokens=8, regex="(yes|no)")
            expect(response.text in ("yes", "no"), True)
    return "kept in chats and completions"


async def check_overflow(args: argparse.Namespace) -> str:
    """Check that a request over the context length is rejected, not truncated."""
    async with connect(args) as model:
        try:
            await model.generate("What is 2+2?", max_tokens=10**6)
        except RequestRejected as refused:
            expect((refused.status, "1000000" in str(refused)), (400, True))
            return f"rejected with {refused.status}"
        raise AssertionError("a request longer than the context was answered")
