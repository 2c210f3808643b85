"""Checks of a task: the scores of gold and garbage replies, and the prompt."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from pathlib import Path
from typing import Any

import msgspec

from evalkit.collection.items import Item, items_of
from evalkit.collection.targets import items_for
from evalkit.metric import Metric
from evalkit.model import Call, Model
from evalkit.models.baseline import BaselineBackend
from evalkit.models.fake import FakeBackend
from evalkit.models.spec import parse_spec
from evalkit.protocols import Backend
from evalkit.requests import describe
from evalkit.run.samples import samples_of
from evalkit.run.scoring import score
from evalkit.run.session import Session
from evalkit.status import classify_answer
from evalkit.task import Task
from evalkit.testing.models import ScriptedBackend
from evalkit.testing.support import in_thread
from evalkit.types import Answer, Request, Response, Sample
from evalkit.util.progress import Silent

Means = dict[str, float]

REFUSAL = "I'm sorry, but I can't help with that."
UPDATE = "EVALKIT_UPDATE_SNAPSHOTS"


def check_task(
    task: Task,
    samples: Sequence[Sample] | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    fixtures: Mapping[str, Any] | None = None,
    limit: int = 20,
    slack: float = 0.1,
    apart: Collection[str] = (),
) -> dict[str, dict[str, Means]]:
    """Check that perfect replies to a task get the best scores, and replies without an answer the worst.

    For each item of the task, over ``samples`` or the first ``limit`` of its own:

    - gold (the target, or the ``reference`` of the request) scores the best value of every output metric;
    - an empty reply and a refusal score the worst;
    - random letters score the worst on average, with a tolerance of ``slack`` times the metric's range;
    - another sample's gold reply scores less than the best on average, on at least one output metric.

    Where the task compares log-probabilities, a preference for a wrong continuation replaces the garbage.
    Descriptive, unbounded and aggregated metrics are not checked, nor those named in ``apart``, for metrics
    on which a reference need not be best (readability). ``params`` choose items, ``fixtures`` are values in
    place of the task's own. Return the means by item, kind of reply and metric. Raises ``AssertionError``
    with all that is wrong.
    """
    parameters = {name: [value] for name, value in (params or {}).items()}
    wrong: list[str] = []
    means: dict[str, dict[str, Means]] = {}
    task = replace(task, metrics=tuple(m for m in task.metrics if m.name not in apart))
    for item in items_of(task, parameters, fixtures):
        means[item.id] = in_thread(_check_item(item, samples, limit, slack, wrong))
    assert not wrong, "\n".join([f"{task.name}: the scores are not as they should be", *wrong])
    return means


def render(
    task: Task | str,
    sample: Sample | None = None,
    *,
    fixtures: Mapping[str, Any] | None = None,
    **params: Any,
) -> str:
    """Return all requests of one sample (by default the first) as text: messages, media by hash, settings.

    If task and ``params`` leave several items, each is under its id.
    """
    items = items_for(task, params, fixtures or {})
    texts = [in_thread(_render(item, sample)) for item in items]
    if len(items) == 1:
        return texts[0]
    return "\n".join(f"=== {item.id}\n{text}" for item, text in zip(items, texts, strict=True))


def assert_prompt(
    task: Task | str,
    path: str | Path,
    sample: Sample | None = None,
    *,
    fixtures: Mapping[str, Any] | None = None,
    **params: Any,
) -> None:
    """Compare ``render`` with a text file. Raises ``AssertionError`` if they differ.

    A missing file is written; ``pytest --evalkit-update-snapshots`` (or EVALKIT_UPDATE_SNAPSHOTS=1) writes it
    anew.
    """
    text, file = render(task, sample, fixtures=fixtures, **params), Path(path)
    if os.environ.get(UPDATE) or not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    pinned = file.read_text(encoding="utf-8")
    if text != pinned:
        lines = unified_diff(pinned.splitlines(), text.splitlines(), "pinned", "now", lineterm="")
        raise AssertionError(
            "\n".join([f"the prompt differs from {file}.", *lines])
            + "\nChanged on purpose? Raise the task's version, then: pytest --evalkit-update-snapshots"
        )


@dataclass(frozen=True)
class _Trial:
    """One answer to one sample, with its calls."""

    sample: Sample
    answer: Answer
    calls: list[Call]


async def _check_item(
    item: Item, samples: Sequence[Sample] | None, limit: int, slack: float, wrong: list[str]
) -> dict[str, Means]:
    async with Session(Silent()) as session, session.running():
        chosen = list(samples) if samples is not None else await _first(item, session, limit)
        assert chosen, f"{item.id}: no samples"
        arguments = await session.arguments(item.task.fn, item)
        fn = session.for_samples(item)

        async def ask(sample: Sample, backend: Backend) -> _Trial:
            model = Model(backend).for_sample(sample)
            answer = await fn(sample=sample, model=model, **arguments)
            return _Trial(sample, answer, model.calls)

        gold = [await ask(sample, _gold()) for sample in chosen]
        replies = _garbage(gold)
        means = {"gold": _means(item, gold, "gold", wrong)}
        for kind, backend_for in replies.items():
            trials = [await ask(trial.sample, backend) for trial in gold if (backend := backend_for(trial))]
            if trials:
                means[kind] = _means(item, trials, kind, wrong)
    wrong += _check_garbage(item, means, slack)
    return means


async def _first(item: Item, session: Session, limit: int) -> list[Sample]:
    samples: list[Sample] = []
    async for sample in (await samples_of(item, session))():
        if len(samples) == limit:
            break
        samples.append(sample)
    return samples


def _gold() -> BaselineBackend:
    return BaselineBackend(parse_spec("baseline:gold"))


def _garbage(gold: Sequence[_Trial]) -> dict[str, Callable[[_Trial], Backend | None]]:
    """Return for each kind of garbage a function from a gold trial to the backend with the garbage reply.

    The function returns None if there is no such reply.
    """
    if any(call.request.continuation is not None for trial in gold for call in trial.calls):
        return {"other": lambda trial: FakeBackend(_dislike_gold)}

    def other(trial: _Trial) -> Backend | None:
        start = gold.index(trial)
        others = [*gold[start + 1 :], *gold[:start]]
        differing = (o for o in others if _folded(o.sample).isdisjoint(_folded(trial.sample)))
        source = next(differing, None)
        return None if source is None else ScriptedBackend([call.response for call in source.calls])

    return {
        "empty": lambda trial: ScriptedBackend([""]),
        "refusal": lambda trial: ScriptedBackend([REFUSAL]),
        "letters": lambda trial: ScriptedBackend([_letters(trial.sample.id)]),
        "other": other,
    }


def _folded(sample: Sample) -> set[str]:
    return {target.casefold().strip(" .") for target in sample.targets}


def _letters(seed: str) -> str:
    """Return random words without vowels, which mean nothing."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("bcdfghjklmnpqrstvwxz", k=7)) for _ in range(5))


async def _dislike_gold(request: Request) -> Response:
    response = await _gold().send(request)
    return msgspec.structs.replace(response, logprobs=(-1000.0 - response.logprob,), is_greedy=False)


def _checked_metrics(item: Item) -> list[Metric]:
    """Return the metrics that judge the output of single samples in a known range."""
    return [
        m for m in item.task.metrics if m.judges_output and m.aggregate is None and math.isfinite(_best(m))
    ]


def _best(m: Metric) -> float:
    if m.higher_is_better is False:
        return m.low
    return math.inf if m.high is None else m.high


def _means(item: Item, trials: Sequence[_Trial], kind: str, wrong: list[str]) -> Means:
    """Return the mean scores of all metrics; add the wrong scores of single replies to ``wrong``."""
    values: dict[str, list[float]] = {}
    best = {m.name: _best(m) for m in _checked_metrics(item)}
    worst = {m.name: m.worst for m in _checked_metrics(item)}
    expected = {"gold": best, "empty": worst, "refusal": worst}.get(kind, {})
    for trial in trials:
        answer = trial.answer
        for scored in score(item.task.metrics, trial.sample, answer, classify_answer(answer)):
            where = f"  {item.id}, {kind} on sample {trial.sample.id!r}: {scored.metric}"
            if scored.value is None:
                wrong.append(f"{where} failed: {scored.error}")
                continue
            values.setdefault(scored.metric, []).append(scored.value)
            target = expected.get(scored.metric)
            if target is not None and not math.isclose(scored.value, target, abs_tol=1e-9):
                wrong.append(f"{where} is {scored.value:g}, not {target:g}; the reply: {answer.reply!r:.200}")
    return {name: sum(scores) / len(scores) for name, scores in values.items()}


def _check_garbage(item: Item, means: Mapping[str, Means], slack: float) -> list[str]:
    wrong = []
    metrics = {m.name: m for m in _checked_metrics(item) if m.name in means["gold"]}
    for name, m in metrics.items():
        value = means.get("letters", {}).get(name)
        if value is not None and abs(value - m.worst) > slack * abs(_best(m) - m.worst):
            wrong.append(f"  {item.id}: random letters score {value:g} on {name}; its worst is {m.worst:g}")
    others = means.get("other", {})
    scores = {name: others[name] for name in metrics if name in others}
    if scores and all(math.isclose(value, _best(metrics[name])) for name, value in scores.items()):
        wrong.append(f"  {item.id}: the answers to other samples get the best scores: {scores}")
    return wrong


async def _render(item: Item, sample: Sample | None) -> str:
    async with Session(Silent()) as session, session.running():
        if sample is None:
            sample = (await _first(item, session, 1))[0]
        model = Model(_gold()).for_sample(sample)
        arguments = await session.arguments(item.task.fn, item)
        await session.for_samples(item)(sample=sample, model=model, **arguments)
        return "\n".join(_text(describe(call.request)) for call in model.calls)


def _text(request: dict[str, Any]) -> str:
    """Return a request as readable text: each message under its role, then the settings."""
    lines: list[str] = []
    for message in request.pop("messages", []):
        lines += [f"--- {message['role']}", _content(message["content"])]
        lines += [f"{call['name']} {_json(call['arguments'])}" for call in message.get("tool_calls", ())]
    for name in ("prompt", "continuation"):
        if name in request:
            lines += [f"--- {name}", request.pop(name)]
    return "\n".join([*lines, f"--- {_json(request)}", ""])


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        part["text"] if part["type"] == "text" else f"[{' '.join(str(value) for value in part.values())}]"
        for part in content
    )
