"""Estimates of each metric of a run, over all samples and by slice, from the stored scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.collection.items import Item
from evalkit.errors import MetricError
from evalkit.stats import bootstrap, estimate, incomplete_bounds
from evalkit.store.records import Column, MetricInfo, RunSpec, RunStatus
from evalkit.types import Estimate
from evalkit.util.boundary import reason

if TYPE_CHECKING:
    from evalkit.store.store import Store
    from evalkit.task import Aggregate

Value = Callable[[Sequence[float]], float]
"""The aggregate of a metric that is not the mean of its samples' values."""
_SLACK = 1e-9  # for rounding errors


def aggregate_run(store: Store, item: Item, spec: RunSpec, status: RunStatus, wall_s: float) -> None:
    """Estimate the metrics from the stored scores and finish the run.

    The run is complete only if no sample is missing or failed and every metric scored. Errors of aggregates,
    which are plug-in code, become ``aggregation_error`` of the run's provenance.
    """
    counts = store.samples.counts(spec.id)
    missing = (spec.n_expected or 0) - sum(n for s, n in counts.items() if s != "error")
    columns = {name: _Scored(column) for name, column in store.samples.columns(spec.id).items()}
    aggregates = {m.name: m.aggregate for m in item.task.metrics}
    metrics: dict[str, Estimate] = {}
    failures: dict[str, str] = {}
    for info in spec.metrics:
        if (scored := columns.get(info.name)) is None:
            continue
        if scored.failed and status == "complete":
            status = "incomplete"
        if not len(scored.values):
            continue
        aggregate, lost = aggregates.get(info.name), missing + scored.failed
        estimated = _estimate(info, aggregate, scored.values, scored.clusters, failures)
        if estimated is None:
            continue
        if lost and aggregate:
            estimated = msgspec.structs.replace(estimated, bounds=(info.low, _or_infinite(info.high)))
        elif lost:
            bounds = incomplete_bounds(scored.values, lost, info.low, info.high)
            estimated = msgspec.structs.replace(estimated, bounds=bounds)
        metrics[info.name] = estimated
    if missing and status == "complete":
        status = "incomplete"
    if item.task.aggregate is not None and counts:
        try:
            _aggregate(store, item.task.aggregate, spec, status, metrics)
        except BaseException as problem:  # noqa: BLE001 - the aggregate is plug-in code
            failures[""] = str(problem) if isinstance(problem, MetricError) else reason(problem)
    slices = _by_slice(store.samples.slices(spec.id), spec.metrics, columns, aggregates, failures)
    if failures and status == "complete":
        status = "incomplete"
    if failures or "aggregation_error" in store.runs.get(spec.id).spec.provenance:
        store.runs.add_provenance(spec.id, aggregation_error="; ".join(failures.values()))
    store.runs.finish(spec.id, status, metrics, wall_s, slices)


class _Scored:
    """A column without the samples on which the metric failed: sorted sequences, clusters, values."""

    def __init__(self, column: Column) -> None:
        values = np.asarray(column.values)
        scored = ~np.isnan(values)
        self.failed = len(values) - int(scored.sum())
        kept = scored if self.failed else slice(None)  # a slice copies nothing
        self.sequences = np.asarray(column.sequences)[kept]
        self.clusters = np.asarray(column.clusters)[kept]
        self.values = values[kept]


def _estimate(
    info: MetricInfo,
    aggregate: Value | None,
    values: NDArray[np.float64],
    clusters: NDArray[np.int64],
    failures: dict[str, str],
) -> Estimate | None:
    """Return the estimate of a metric; None where its aggregate fails, with the reason in ``failures``."""
    if aggregate is None:
        return estimate(values, clusters=clusters, low=info.low, high=info.high)
    try:
        found = bootstrap(values, aggregate, clusters=clusters, low=info.low, high=info.high)
        if not info.low - _SLACK <= found.value <= _or_infinite(info.high) + _SLACK:  # NaN is not, either
            known = f"[{info.low}, {_or_infinite(info.high)}]"
            raise MetricError(f"it gave {found.value}, outside its range {known}")
        return found
    except BaseException as problem:  # noqa: BLE001 - the aggregate is plug-in code
        failures.setdefault(info.name, f"the aggregate of {info.name}: {reason(problem)}")
        return None


def _by_slice(
    slices: Mapping[str, Sequence[int]],
    metrics: Sequence[MetricInfo],
    columns: Mapping[str, _Scored],
    aggregates: Mapping[str, Value | None],
    failures: dict[str, str],
) -> dict[str, dict[str, Estimate]]:
    """Return estimates over the scored samples of each slice, by slice and metric."""
    estimates: dict[str, dict[str, Estimate]] = {}
    for part in sorted(slices):
        members = np.asarray(slices[part])
        for info in metrics:
            if (scored := columns.get(info.name)) is None or not len(scored.values):
                continue
            places = np.searchsorted(scored.sequences, members).clip(max=len(scored.sequences) - 1)
            places = places[scored.sequences[places] == members]
            if not len(places):
                continue
            values, clusters = scored.values[places], scored.clusters[places]
            estimated = _estimate(info, aggregates.get(info.name), values, clusters, failures)
            if estimated is not None:
                estimates.setdefault(part, {})[info.name] = estimated
    return estimates


def _aggregate(
    store: Store, aggregate: Aggregate, spec: RunSpec, status: RunStatus, metrics: dict[str, Estimate]
) -> None:
    """Replace estimates by those that the task computes from all answers together."""
    answered = [(r.sample, r.answer) for r in store.samples.records(spec.id) if r.answer is not None]
    computed = aggregate(answered, metrics, spec.reproduction.params) if answered else {}
    ranges = {m.name: (m.low, _or_infinite(m.high)) for m in spec.metrics}
    for name, value in computed.items():
        open_ended = value.bounds is None and status != "complete"
        bounds = ranges.get(name, (-math.inf, math.inf)) if open_ended else value.bounds
        metrics[name] = msgspec.structs.replace(value, bounds=bounds)


def _or_infinite(high: float | None) -> float:
    return math.inf if high is None else high
