"""Which of two models is better, and by how much: runs over the same samples, paired sample by sample.

Source: Miller 2024, "Adding Error Bars to Evals".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from evalkit.compare.paired import RunScores, is_mean
from evalkit.store.records import Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store


class PairedDifference(Struct, frozen=True):
    """One metric of a run less that of another over the same samples, paired.

    ``run`` and ``model`` are those of the run, ``baseline_run`` and ``less`` those of the other.
    """

    task: str
    metric: str
    run: str
    model: str
    baseline_run: str
    less: str
    difference: Estimate


def against_first(store: Store, runs: Sequence[Run]) -> list[PairedDifference]:
    """Of each task, every complete run less the first one, metric by metric.

    Compared are runs that asked the same samples as often, and metrics that are means of their samples.
    """
    by_task: dict[tuple[str, str], list[Run]] = {}
    for run in {run.id: run for run in runs if run.ranked}.values():
        by_task.setdefault((run.spec.path, run.spec.task), []).append(run)
    return [less for some in by_task.values() if len(some) > 1 for less in _against(store, some)]


def _against(store: Store, runs: Sequence[Run]) -> list[PairedDifference]:
    first, found = runs[0], []
    base = RunScores(store, first)
    for run in runs[1:]:
        if not run.spec.dataset or run.samples != first.samples:
            continue
        own = RunScores(store, run)
        for info in run.spec.metrics:
            if not (is_mean(run, info.name) and is_mean(first, info.name)):
                continue
            # Scores made elsewhere may have come without those of their samples.
            if pairs := own.pairs(base, info.name):
                names = run.id, run.spec.model, first.id, first.spec.model
                found.append(PairedDifference(run.spec.task, info.name, *names, pairs.difference(info)))
    return found
