"""The difference of two runs: one metric, paired over the samples that both runs scored.

Source: Miller 2024, "Adding Error Bars to Evals", section 4.2.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evalkit.stats import paired
from evalkit.store.records import MetricInfo, Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store


class Pairs(NamedTuple):
    """The scores of one metric in two runs, in arrays of equal length: one pair for each shared sample.

    ``unpaired`` is the number of scores in both runs that have no partner.
    """

    first: NDArray[np.float64]
    second: NDArray[np.float64]
    clusters: NDArray[np.int64]
    unpaired: int

    @property
    def means(self) -> tuple[float, float]:
        """The mean score of each run over the pairs."""
        return sum(self.first.tolist()) / len(self.first), sum(self.second.tolist()) / len(self.second)

    def difference(self, info: MetricInfo, level: float = 0.95) -> Estimate:
        """Estimate the mean of first − second; ``info`` gives the range of the scores."""
        return paired(
            self.first, self.second, clusters=self.clusters, low=info.low, high=info.high, level=level
        )


class RunScores:
    """The scores of one run by metric, read from the store once: of all its metrics, or of ``metrics``.

    Samples of runs over other data pair by id and repeat; with ``exact``, only where question, options, right
    answer and pictures are the same too.
    """

    def __init__(
        self, store: Store, run: Run, metrics: Collection[str] | None = None, *, exact: bool = False
    ) -> None:
        self._store, self._run, self._exact = store, run, exact
        self._columns = store.samples.columns(run.id, metrics)

    def pairs(self, other: RunScores, metric: str, without: Collection[int] = ()) -> Pairs | None:
        """Pair the scores by sample and repeat, in the order of this run; None where no sample is shared.

        ``without`` are sequences of ``other`` that are left out.
        """
        if metric not in self._columns or metric not in other._columns:
            return None
        here, there = self._columns[metric], other._columns[metric]
        shared = other._sequences_in(self, np.asarray(there.sequences))
        _, rows, other_rows = np.intersect1d(here.sequences, shared, return_indices=True)
        a, b = np.asarray(here.values), np.asarray(there.values)
        scored = ~(np.isnan(a[rows]) | np.isnan(b[other_rows]))
        scored &= ~np.isin(np.asarray(there.sequences)[other_rows], list(without))
        rows, other_rows = rows[scored], other_rows[scored]
        if not len(rows):
            return None
        unpaired = int(np.count_nonzero(~np.isnan(a)) + np.count_nonzero(~np.isnan(b))) - 2 * len(rows)
        return Pairs(a[rows], b[other_rows], np.asarray(here.clusters)[rows], unpaired)

    def first_shared(self, other: RunScores) -> tuple[int, int] | None:
        """Return the sequences of the first sample of this run that ``other`` has too; None without one."""
        if self._same_data(other):
            return 0, 0
        for sequence in sorted(self._names):
            if (there := other._sequences.get(self._names[sequence])) is not None:
                return sequence, there
        return None

    def _sequences_in(self, other: RunScores, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sequence in ``other`` of each sample of this run; −1 for one that ``other`` lacks."""
        if self._same_data(other):
            return sequences
        matches = (other._sequences.get(self._names[sequence], -1) for sequence in sequences.tolist())
        return np.fromiter(matches, np.int64, len(sequences))

    def _same_data(self, other: RunScores) -> bool:
        return bool(self._run.spec.dataset) and self._run.sample_set == other._run.sample_set

    @cached_property
    def _names(self) -> dict[int, tuple[Any, ...]]:
        names = self._store.samples.names(self._run.id)
        if not self._exact:
            return dict(names)
        questions = self._store.samples.questions(self._run.id)
        return {sequence: (*name, questions[sequence]) for sequence, name in names.items()}

    @cached_property
    def _sequences(self) -> dict[tuple[Any, ...], int]:
        return {name: sequence for sequence, name in self._names.items()}


def is_mean(run: Run, metric: str) -> bool:
    """Return whether a metric's value is the mean of its samples' scores, so that differences pair."""
    aggregated = any(info.aggregated for info in run.spec.metrics if info.name == metric)
    by_method = metric in run.metrics and run.metrics[metric].method in ("bootstrap", "combined")
    return metric in run.metrics and not aggregated and not by_method
