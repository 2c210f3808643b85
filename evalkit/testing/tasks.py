"""What gold and garbage score on a task, and what a model is shown."""

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
from evalkit.run.scoring import score
from evalkit.run.session import Session, samples_of
from evalkit.status import classify_answer
from evalkit.task import Task
from evalkit.testing.threads import in_thread
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
    """Check that perfect replies score full marks on a task, and replies that are no answer none.

    For each item of the task, over ``samples`` or the first ``limit`` of its own:

    - gold (the target, or the ``reference`` of the request) scores the best value of every output metric;
    - an empty reply and a refusal score the worst;
    - random letters score the worst, up to ``slack`` of the metric's range on average;
    - another sample's gold reply scores less than the best on average, on one output metric at least.

    Where the task compares log-probabilities, replies are replaced by a preference for a wrong continuation.
    Descriptive, unbounded and aggregated metrics are not judged, nor those that ``apart`` names: at which a
    reference need not be best (readability). ``params`` choose items, ``fixtures`` are
    values in place of the task's own. Returns the means by item, kind of reply and metric. Raises
    ``AssertionError`` with everything that is not so.
    """
    given = {name: [value] for name, value in (params or {}).items()}
    wrong: list[str] = []
    means: dict[str, dict[str, Means]] = {}
    task = replace(task, metrics=tuple(m for m in task.metrics if m.name not in apart))
    for item in items_of(task, given, fixtures):
        means[item.id] = in_thread(_check_item(item, samples, limit, slack, wrong))
    assert not wrong, "\n".join([f"{task.name}: the scoring does not hold", *wrong])
    return means


def render(
    task: Task | str,
    sample: Sample | None = None,
    *,
    fixtures: Mapping[str, Any] | None = None,
    **params: Any,
) -> str:
    """All that a model is shown for one sample (the first), as text: messages, media by hash, settings.

    Where task and ``params`` leave several items, each under its id.
    """
    items = items_for(task, params, fixtures or {})
    shown = [in_thread(_render(item, sample)) for item in items]
    if len(items) == 1:
        return shown[0]
    return "\n".join(f"=== {item.id}\n{text}" for item, text in zip(items, shown, strict=True))


def assert_prompt(
    task: Task | str,
    path: str | Path,
    sample: Sample | None = None,
    *,
    fixtures: Mapping[str, Any] | None = None,
    **params: Any,
) -> None:
    """Compare ``render`` with a text file, which is written where it is missing, or anew with
    ``pytest --evalkit-update-snapshots`` (or EVALKIT_UPDATE_SNAPSHOTS=1). Raises ``AssertionError``."""
    text, file = render(task, sample, fixtures=fixtures, **params), Path(path)
    if os.environ.get(UPDATE) or not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    wanted = file.read_text(encoding="utf-8")
    if text != wanted:
        lines = unified_diff(wanted.splitlines(), text.splitlines(), "pinned", "now", lineterm="")
        raise AssertionError(
            "\n".join([f"the prompt is not that of {file}.", *lines])
            + "\nChanged on purpose? Raise the task's version, then: pytest --evalkit-update-snapshots"
        )


@dataclass(frozen=True)
class _Tried:
    """One sample answered once."""

    sample: Sample
    answer: Answer
    calls: list[Call]


async def _check_item(
    item: Item, samples: Sequence[Sample] | None, limit: int, slack: float, wrong: list[str]
) -> dict[str, Means]:
    async with Session(Silent()) as session, session.running():
        chosen = list(samples) if samples is not None else await _first(item, session, limit)
        assert chosen, f"{item.id}: there are no samples"
        arguments = await session.arguments(item.task.fn, item)
        fn = session.for_samples(item)

        async def ask(sample: Sample, backend: Backend) -> _Tried:
            model = Model(backend).for_sample(sample)
            answer = await fn(sample=sample, model=model, **arguments)
            return _Tried(sample, answer, model.calls)

        gold = [await ask(sample, _gold()) for sample in chosen]
        replies = _garbage(gold)
        made = {"gold": _means(item, gold, "gold", wrong)}
        for kind, backend_for in replies.items():
            tried = [await ask(one.sample, backend) for one in gold if (backend := backend_for(one))]
            if tried:
                made[kind] = _means(item, tried, kind, wrong)
    wrong += _judge_garbage(item, made, slack)
    return made


async def _first(item: Item, session: Session, limit: int) -> list[Sample]:
    found: list[Sample] = []
    async for sample in (await samples_of(item, session))():
        if len(found) == limit:
            break
        found.append(sample)
    return found


def _gold() -> BaselineBackend:
    return BaselineBackend(parse_spec("baseline:gold"))


def _garbage(gold: Sequence[_Tried]) -> dict[str, Callable[[_Tried], Backend | None]]:
    """For each kind of garbage, the backend that answers a sample so; None where there is no such answer."""
    if any(call.request.continuation is not None for one in gold for call in one.calls):
        return {"other": lambda one: FakeBackend(_dislike_gold)}

    def other(one: _Tried) -> Backend | None:
        start = gold.index(one)
        rest = [*gold[start + 1 :], *gold[:start]]
        differ = (o for o in rest if _folded(o.sample).isdisjoint(_folded(one.sample)))
        found = next(differ, None)
        return None if found is None else _Script([call.response.text for call in found.calls])

    return {
        "empty": lambda one: _Script([""]),
        "refusal": lambda one: _Script([REFUSAL]),
        "letters": lambda one: _Script([_letters(one.sample.id)]),
        "other": other,
    }


def _folded(sample: Sample) -> set[str]:
    return {target.casefold().strip(" .") for target in sample.targets}


def _letters(seed: str) -> str:
    """Words without a vowel, so that none means anything."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("bcdfghjklmnpqrstvwxz", k=7)) for _ in range(5))


class _Script(FakeBackend):
    """Replies in the order of the calls; the last one again where there are more."""

    def __init__(self, replies: Sequence[str]) -> None:
        super().__init__(lambda request: replies[min(len(self.requests), len(replies)) - 1])


async def _dislike_gold(request: Request) -> Response:
    response = await _gold().send(request)
    return msgspec.structs.replace(response, logprobs=(-1000.0 - response.logprob,), is_greedy=False)


def _judged(item: Item) -> list[Metric]:
    """The metrics that a reply can do well or badly at, in a known range."""
    return [
        m for m in item.task.metrics if m.judges_output and m.aggregate is None and math.isfinite(_best(m))
    ]


def _best(m: Metric) -> float:
    if m.higher_is_better is False:
        return m.low
    return math.inf if m.high is None else m.high


def _means(item: Item, tried: Sequence[_Tried], kind: str, wrong: list[str]) -> Means:
    """Mean scores of all metrics; what is wrong with single replies joins ``wrong``."""
    values: dict[str, list[float]] = {}
    best = {m.name: _best(m) for m in _judged(item)}
    worst = {m.name: m.worst for m in _judged(item)}
    want = {"gold": best, "empty": worst, "refusal": worst}.get(kind, {})
    for one in tried:
        for scored in score(item.task.metrics, one.sample, one.answer, classify_answer(one.answer)):
            where = f"  {item.id}, {kind} on sample {one.sample.id!r}: {scored.metric}"
            if scored.value is None:
                wrong.append(f"{where} failed: {scored.error}")
                continue
            values.setdefault(scored.metric, []).append(scored.value)
            wanted = want.get(scored.metric)
            if wanted is not None and not math.isclose(scored.value, wanted, abs_tol=1e-9):
                wrong.append(
                    f"{where} is {scored.value:g}, not {wanted:g}; the reply: {one.answer.reply!r:.200}"
                )
    return {name: sum(some) / len(some) for name, some in values.items()}


def _judge_garbage(item: Item, made: Mapping[str, Means], slack: float) -> list[str]:
    wrong = []
    metrics = {m.name: m for m in _judged(item) if m.name in made["gold"]}
    for name, m in metrics.items():
        value = made.get("letters", {}).get(name)
        if value is not None and abs(value - m.worst) > slack * abs(_best(m) - m.worst):
            wrong.append(f"  {item.id}: random letters score {value:g} on {name}, whose worst is {m.worst:g}")
    others = made.get("other", {})
    seen = {name: others[name] for name in metrics if name in others}
    if seen and all(math.isclose(value, _best(metrics[name])) for name, value in seen.items()):
        wrong.append(f"  {item.id}: the answers to other samples score full marks: {seen}")
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
    """A request for people: each message under its role, then the settings."""
    lines: list[str] = []
    for message in request.pop("messages", []):
        lines += [f"--- {message['role']}", _content(message["content"])]
    for name in ("prompt", "continuation"):
        if name in request:
            lines += [f"--- {name}", request.pop(name)]
    settings = msgspec.json.encode(request, order="sorted").decode()
    return "\n".join([*lines, f"--- {settings}", ""])


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        part["text"] if part["type"] == "text" else f"[{' '.join(str(value) for value in part.values())}]"
        for part in content
    )
