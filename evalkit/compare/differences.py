"""Differences between runs, paired by sample: each run against the first run of its task.

Runs that differ in more than the model (``evalkit.store.conditions``) are compared all the same, and named
for what they are: their differences carry ``besides_model`` and are never called significant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from evalkit.compare.paired import RunScores, is_mean
from evalkit.stats import holm, p_value
from evalkit.store import conditions
from evalkit.store.records import Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store

ERROR = 0.05


class PairedDifference(Struct, frozen=True):
    """One metric: its difference between a run and a baseline run over shared samples, run − baseline.

    ``besides_model`` names what else differs between the runs; empty where only the model does. ``unpaired``
    is the number of scores without a partner in the other run. ``p`` is the p value of a two-sided test of no
    difference, and ``significant`` says that it stands at 5 % among all differences of the comparison
    together (Holm 1979); both only where the model alone differs.
    """

    task: str
    metric: str
    run: str
    model: str
    baseline_run: str = field(name="less_run")
    baseline_model: str = field(name="less")
    difference: Estimate
    besides_model: tuple[str, ...] = ()
    unpaired: int = 0
    p: float | None = None
    significant: bool = False


class NotCompared(Struct, frozen=True):
    """A run, or one metric of a run, that has no difference to the baseline run, with the reason."""

    run: str
    baseline_run: str = field(name="less_run")
    reason: str


class Against(Struct, frozen=True):
    """The differences of runs to the first run of their task, and what could not be compared."""

    differences: tuple[PairedDifference, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()


def against_first(store: Store, runs: Sequence[Run], *, across: bool = False) -> Against:
    """Return the differences of each task's runs to the first of them, metric by metric.

    Compared are complete runs, and metrics that are means of their samples. With ``across``, a run without
    an earlier run of its variant is compared with the first run of another variant, and where there is
    none, the reason is given.
    """
    found: list[PairedDifference] = []
    reasons: list[NotCompared] = []
    firsts: dict[str, Run] = {}
    for run in {run.id: run for run in runs}.values():
        base = firsts.setdefault(run.spec.task, run)
        if base is run and across:
            others = [other for other in firsts.values() if other is not run]
            same_task = [other for other in others if other.spec.task_name == run.spec.task_name]
            base = next(iter(same_task or others), run)
        if base is run:
            continue
        made, reason = _against(store, run, base)
        found += made
        if reason:
            reasons.append(NotCompared(run.id, base.id, reason))
    return Against(tuple(_tested(found)), tuple(reasons))


def _against(store: Store, run: Run, base: Run) -> tuple[list[PairedDifference], str]:
    """Return the differences of two runs, and the reason where there are none, or none of some metrics."""
    if run.spec.task_name != base.spec.task_name:
        return [], f"another task: {run.spec.task_name}, not {base.spec.task_name}"
    for one in (run, base):
        if not one.is_complete:
            return [], f"run {one.id} is {one.status}"
    scores, others = RunScores(store, run, exact=True), RunScores(store, base, exact=True)
    if (shared := scores.first_shared(others)) is None:
        return [], "other samples: the store holds none that both runs answered"
    here, there = _asked_of(store, run, shared[0]), _asked_of(store, base, shared[1])
    unlike = conditions.differences(here, there)
    besides = tuple(one.text for one in unlike if not one.of_samples and not one.metric)
    rules = {one.metric: one.text for one in unlike if one.metric}
    made = [
        PairedDifference(
            run.spec.task,
            info.name,
            run.id,
            run.spec.model,
            base.id,
            base.spec.model,
            (difference := pairs.difference(info)),
            besides,
            pairs.unpaired,
            None if besides else p_value(difference, info.low, info.high),
        )
        for info in run.spec.metrics
        if info.name not in rules and is_mean(run, info.name) and is_mean(base, info.name)
        if (pairs := scores.pairs(others, info.name))
    ]
    if rules:
        return made, f"other rules: {'; '.join(rules.values())}. Score both by the same: evalkit rescore"
    return made, "" if made else "no metric is a mean of scores that the store holds for samples of both runs"


def _asked_of(store: Store, run: Run, sequence: int) -> Run:
    """Return the run with what it asked for one sample, for the comparison of prompts and settings."""
    record = next(store.samples.records(run.id, sequences=[sequence]), None)
    if record is None or not record.requests:
        return run
    facts = run.spec.provenance | {"asked": conditions.asked(record)}
    return replace(run, spec=replace(run.spec, provenance=facts))


def _tested(found: Sequence[PairedDifference]) -> list[PairedDifference]:
    """Return the differences with ``significant`` set, by Holm's procedure over all that were tested."""
    rejected = iter(holm([one.p for one in found if one.p is not None], ERROR))
    return [one if one.p is None else replace(one, significant=next(rejected)) for one in found]
