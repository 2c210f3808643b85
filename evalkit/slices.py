"""Estimates for parts of a run: by question type, organ, level, whatever ``Sample.slices`` names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from evalkit.stats import bootstrap, estimate
from evalkit.store.records import MetricInfo
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store

MOST_VALUES = 100
"""A slice with more values than this is no grouping (an id, a date) and gets no estimates."""

Scores = Mapping[str, Sequence[tuple[int, str, float | None]]]
Aggregate = Callable[[Sequence[float]], float]


def by_slice(
    store: Store,
    run_id: str,
    metrics: Sequence[MetricInfo],
    scores: Scores,
    aggregates: Mapping[str, Aggregate | None] | None = None,
) -> dict[str, dict[str, Estimate]]:
    """Means over the scored samples of each slice, named ``name=value``, by metric.

    ``scores`` are those of ``Store.scores``; ``aggregates`` are what some metrics make of the values instead
    of their mean. What is missing of an incomplete run is in no slice.
    """
    parts = _parts(store.slices(run_id))
    found: dict[str, dict[str, Estimate]] = {}
    for info in metrics:
        values: dict[str, list[float]] = defaultdict(list)
        clusters: dict[str, list[str]] = defaultdict(list)
        for sequence, cluster, value in scores.get(info.name, ()):
            if value is None:
                continue
            for part in parts.get(sequence, ()):
                values[part].append(value)
                clusters[part].append(cluster)
        for part in sorted(values):
            aggregate = (aggregates or {}).get(info.name)
            some, of = values[part], clusters[part]
            if aggregate:
                made = bootstrap(some, aggregate, clusters=of, low=info.low, high=info.high)
            else:
                made = estimate(some, clusters=of, low=info.low, high=info.high)
            found.setdefault(part, {})[info.name] = made
    return found


def _parts(slices: Mapping[int, Mapping[str, str]]) -> dict[int, list[str]]:
    """The slices of each sample as ``name=value``, without names that have too many values."""
    known: dict[str, set[str]] = defaultdict(set)
    for some in slices.values():
        for name, value in some.items():
            known[name].add(value)
    kept = {name for name, values in known.items() if len(values) <= MOST_VALUES}
    return {n: [f"{k}={v}" for k, v in some.items() if k in kept] for n, some in slices.items()}
