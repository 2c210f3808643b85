"""What changed in a task since a run began: ``resume`` looks for it before it asks for more answers."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from evalkit.collection.items import Item
from evalkit.errors import ModelError, SetupError
from evalkit.model import Model
from evalkit.requests import canonical, describe
from evalkit.run import provenance
from evalkit.run.fingerprint import Samples, Survey
from evalkit.store.records import Run, RunSpec
from evalkit.types import Request

if TYPE_CHECKING:
    from evalkit.run.session import Session
    from evalkit.store.store import Store


class Change(NamedTuple):
    """One thing that changed, ``the task code``, and its state then and now."""

    what: str
    detail: str = ""


def of_task(spec: RunSpec, item: Item, surveyed: Survey) -> list[Change]:
    """Return the changes of samples, task version, code and metrics."""
    found = []
    if surveyed.fingerprint != spec.dataset:
        found.append(Change("the samples", _then_and_now(spec.dataset, surveyed.fingerprint)))
    then, now = spec.provenance, provenance.of_item(item)
    hashes = ("code_sha256", "the task code") if then.get("code_sha256") else ("task_sha256", "the task file")
    for name, what in (("task_version", "the task's version"), hashes):
        if then.get(name) is not None and then[name] != now.get(name):
            found.append(Change(what, _then_and_now(then[name], now.get(name))))
    return found + _metrics(spec, item)


def _metrics(spec: RunSpec, item: Item) -> list[Change]:
    then = {info.name: info for info in spec.metrics}
    found = []
    for now in provenance.metric_infos(item):
        if (before := then.get(now.name)) is None:
            continue
        if before.version != now.version:
            detail = f"version {before.version} then, {now.version} now"
            found.append(
                Change(f"the rule of {now.name}", f"{detail}; evalkit rescore {spec.id} applies it to all")
            )
        elif before.code and before.code != now.code:
            found.append(Change(f"the code of {now.name}", f"evalkit rescore {spec.id} applies it to all"))
    return found


async def of_prompt(
    run: Run, store: Store, item: Item, session: Session, model: Model, arguments: dict[str, Any]
) -> list[Change]:
    """Return whether the task now asks something else for a sample that the run has answered.

    The task's function runs for one sample until its first request, which is not sent.
    """
    answered = (record for record in store.samples.records(run.id) if record.answer and record.requests)
    if (record := next(answered, None)) is None:
        return []
    caught = _Caught()
    asking = copy.copy(model)
    asking.sender = caught
    bound = asking.for_sample(record.sample, record.repeat)
    answer = session.for_samples(item)(sample=record.sample, model=bound, **arguments)
    # A task may raise anything where its request fails; only what would stop the run as well counts.
    ended = (await asyncio.gather(answer, return_exceptions=True))[0]
    if isinstance(ended, SetupError):
        raise ended
    then = {canonical(request) for request in record.requests}
    if caught.requests and not then & caught.requests:
        return [Change("the prompt", f"of sample {record.sample.id!r}, for one")]
    return []


class _Caught:
    """A sender that keeps what a task asks and answers nothing."""

    def __init__(self) -> None:
        self.requests: set[bytes] = set()

    async def send(self, request: Request) -> NoReturn:
        self.requests.add(canonical(describe(request)))
        raise ModelError("the request was only looked at")


async def settle(run: Run, store: Store, found: list[Change], allowed: bool, samples: Samples) -> None:
    """Refuse to go on with a changed task, or, where that is allowed, mark the run as mixed.

    Raises ``SetupError``; also where it is allowed and the answers belong to samples that are gone.
    """
    if not found:
        return
    names = " and ".join(change.what for change in found)
    details = "; ".join(f"{c.what.removeprefix('the ')}: {c.detail}" for c in found if c.detail)
    if not allowed:
        have = "have" if len(found) > 1 or names.endswith("s") else "has"
        raise SetupError(
            f"{names} {have} changed since the run began ({details}). The run would mix answers of "
            "two kinds. Start a new run instead; or add --allow-changed: the run goes on, is marked as "
            "mixed, and is not ranked"
        )
    if any(change.what == "the samples" for change in found):
        await _check_places(run, store, samples)
    before = run.spec.provenance.get("mixed", ())
    store.runs.add_provenance(run.id, mixed=list(dict.fromkeys([*before, *(c.what for c in found)])))


async def _check_places(run: Run, store: Store, samples: Samples) -> None:
    """Raise ``SetupError`` where an answered sample no longer stands at its place in the data set."""
    names, index, repeats = store.samples.names(run.id), 0, run.spec.repeats
    async for sample in samples():
        here = {names[n][0] for n in range(index * repeats, (index + 1) * repeats) if n in names}
        if here - {sample.id}:
            raise SetupError(
                f"run {run.id}: sample {index} of the data set is {sample.id!r} now and was {min(here)!r}: "
                "the answers cannot be told apart. Start a new run"
            )
        index += 1
    if index * repeats != (run.spec.n_expected or 0):
        raise SetupError(
            f"run {run.id}: the data set has {index:,} samples now and had "
            f"{(run.spec.n_expected or 0) // repeats:,}. Start a new run"
        )


def _then_and_now(then: Any, now: Any) -> str:
    return f"{str(then)[:12]} then, {str(now)[:12]} now"
