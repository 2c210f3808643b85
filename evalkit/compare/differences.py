"""Differences between models: runs over the same samples, paired by sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, field

from evalkit.compare.paired import RunScores, is_mean
from evalkit.store.records import Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store


class PairedDifference(Struct, frozen=True):
    """One metric: its difference between a run and a baseline run over the same samples, run − baseline."""

    task: str
    metric: str
    run: str
    model: str
    baseline_run: str = field(name="less_run")
    baseline_model: str = field(name="less")
    difference: Estimate


def against_first(store: Store, runs: Sequence[Run]) -> list[PairedDifference]:
    """Return the differences of each task's complete runs to the first of them, metric by metric.

    Only runs over the same samples and repeats are compared, and metrics that are means of their samples.
    """
    by_task: dict[tuple[str, str], list[Run]] = {}
    for run in {run.id: run for run in runs if run.is_complete}.values():
        by_task.setdefault((run.spec.path, run.spec.task), []).append(run)
    groups = (same_task for same_task in by_task.values() if len(same_task) > 1)
    return [difference for same_task in groups for difference in _against(store, same_task)]


def _against(store: Store, runs: Sequence[Run]) -> list[PairedDifference]:
    first, differences = runs[0], []
    base = RunScores(store, first)
    for run in runs[1:]:
        if not run.spec.dataset or run.sample_set != first.sample_set:
            continue
        scores = RunScores(store, run)
        for info in run.spec.metrics:
            if not (is_mean(run, info.name) and is_mean(first, info.name)):
                continue
            # Imported runs may have no scores of samples.
            if pairs := scores.pairs(base, info.name):
                names = run.id, run.spec.model, first.id, first.spec.model
                difference = pairs.difference(info)
                differences.append(PairedDifference(run.spec.task, info.name, *names, difference))
    return differences
