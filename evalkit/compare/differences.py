"""Which of two models is better, and by how much: runs over the same samples, paired sample by sample.

Source: Miller 2024, "Adding Error Bars to Evals".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from evalkit.compare.image_ablation import Scored, is_mean
from evalkit.stats import paired
from evalkit.store.records import Column, MetricInfo, Run
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
    for run in {run.id: run for run in runs if run.is_complete}.values():
        by_task.setdefault((run.spec.path, run.spec.task), []).append(run)
    return [less for some in by_task.values() if len(some) > 1 for less in _against(store, some)]


def _against(store: Store, runs: Sequence[Run]) -> list[PairedDifference]:
    first, found = runs[0], []
    base = store.columns(first.id)
    for run in runs[1:]:
        if not run.spec.dataset or run.sample_set != first.sample_set:
            continue
        own = store.columns(run.id)
        for info in run.spec.metrics:
            # Scores made elsewhere may have come without those of their samples.
            has = info.name in own and info.name in base
            if not (has and is_mean(run, info.name) and is_mean(first, info.name)):
                continue
            if made := _paired(own[info.name], base[info.name], info):
                names = run.id, run.spec.model, first.id, first.spec.model
                found.append(PairedDifference(run.spec.task, info.name, *names, made))
    return found


def _paired(here: Column, there: Column, info: MetricInfo) -> Estimate | None:
    """By place in the run, for the samples are the same; as numbers, for any number of them."""
    _, mine, other = np.intersect1d(here.sequences, there.sequences, return_indices=True)
    a, b = np.asarray(here.values)[mine], np.asarray(there.values)[other]
    both = ~(np.isnan(a) | np.isnan(b))
    if not both.any():
        return None
    clusters = np.asarray(here.clusters, dtype=np.int64)[mine][both]
    return paired(a[both].tolist(), b[both].tolist(), clusters=clusters, low=info.low, high=info.high)


def difference(here: Scored, there: Scored, info: MetricInfo) -> Estimate | None:
    """One metric here less there, over the samples that both have; None where they share none."""
    mine, other = here.get(info.name, {}), there.get(info.name, {})
    shared = [key for key in mine if key in other]
    if not shared:
        return None
    a, b = ([some[key][1] for key in shared] for some in (mine, other))
    return paired(a, b, clusters=[mine[key][0] for key in shared], low=info.low, high=info.high)
