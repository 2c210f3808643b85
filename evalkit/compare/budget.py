"""What a limit of tokens does to a score: replies that were cut, and the score at every smaller limit.

A reply that ended within B tokens would have been the same with a limit of B tokens. A longer one would have
been cut, and scores as wrong, as every cut reply does. So one run tells its score at each limit below its
own, provided that the model does not adapt to the limit (a server that ends the reasoning at a budget and
then lets the model answer does).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from evalkit.compare.paired import is_mean
from evalkit.errors import UsageError
from evalkit.stats import estimate, incomplete_bounds
from evalkit.store.records import Endings, MetricInfo, Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store


class CutReplies(Struct, frozen=True):
    """The replies of a run that were cut: ``n`` of the ``of`` samples, ``in_reasoning`` inside the reasoning.

    ``bounds`` are the lowest and the highest mean by metric, over the scored samples, if each of these
    replies had any score of the metric's range. A metric whose range has no end has none.
    """

    n: int
    of: int
    in_reasoning: int
    bounds: dict[str, tuple[float, float]]

    @property
    def sentence(self) -> str:
        """All of it in one sentence, with the bounds of the first metric."""
        text = f"{self.n:,} of {self.of:,} replies {'was' if self.n == 1 else 'were'} cut off (truncated)"
        if self.in_reasoning:
            some = "all" if self.in_reasoning == self.n else f"{self.in_reasoning:,} of them"
            text += f", {some} inside the reasoning"
        for name, (low, high) in list(self.bounds.items())[:1]:
            text += f"; {name} between {low:.3f} and {high:.3f} if all of them were wrong or all right"
        return text


class BudgetPoint(Struct, frozen=True):
    """The scores by metric with at most ``tokens`` for each sample; ``cut`` is the share of cut replies."""

    tokens: int
    cut: float
    scores: dict[str, Estimate]


class _Scored(NamedTuple):
    """One metric over the samples whose score is known at every limit; ``lost`` is the number of others."""

    info: MetricInfo
    values: NDArray[np.float64]
    clusters: NDArray[np.int64]
    tokens: NDArray[np.int64]
    cut: NDArray[np.bool_]
    lost: int


class Budgets:
    """The scores of one run at every limit of tokens for a sample, from one token to its longest reply.

    A sample's tokens are the completion tokens of all its calls, reasoning included, also where the reply
    came from the cache. No sample gets more than in the run: what was cut there stays cut. ``left_out`` says
    why a metric has no scores here. ``unknown`` samples have no count of tokens: each could have any score,
    and the estimates have bounds. ``calls`` is the highest number of calls of a sample.
    Raises ``UsageError`` where no sample has a count, or no metric a score, and for a task of lm-eval.
    """

    def __init__(self, store: Store, run: Run) -> None:
        if "lm_eval" in run.spec.provenance:
            raise UsageError(
                f"run {run.id} is of a task of lm-eval, which scores the text of a reply that was cut off. "
                "What it would have scored at a smaller limit is not known"
            )
        endings = store.samples.endings(run.id)
        self.run = run
        self._tokens, self._cut = np.asarray(endings.tokens), np.asarray(endings.cut, dtype=bool)
        self.longest = int(self._tokens.max(initial=0))
        self.calls = max(endings.calls, default=0)
        if self.longest == 0:
            raise UsageError(
                f"run {run.id} has no number of tokens for any reply: its model or server counted none, so "
                "that nobody can say which replies a smaller limit would cut"
            )
        known = _known(endings)
        self.unknown = int(np.count_nonzero(~known))
        self.left_out = {info.name: reason for info in run.spec.metrics if (reason := _left_out(run, info))}
        self._scored = _scored(store, run, endings, known)
        if not self._scored:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
            raise UsageError(
                f"run {run.id} has no score that a limit of tokens changes ({reasons or 'none'})"
            )

    @property
    def metrics(self) -> list[MetricInfo]:
        """The metrics that have scores here."""
        return [scored.info for scored in self._scored]

    @property
    def notes(self) -> list[str]:
        """What a reader of the curve must know of this run, a sentence each."""
        notes = []
        if self.calls > 1:
            notes.append(
                f"A sample has up to {self.calls:,} calls here: its tokens are those of all calls together."
            )
        if self.unknown:
            notes.append(
                f"Replies without a count of tokens: {self.unknown:,}. Each could have any score here."
            )
        if self.left_out:
            reasons = "; ".join(f"{name} ({reason})" for name, reason in self.left_out.items())
            notes.append(f"Without a score at smaller limits: {reasons}.")
        return notes

    def sentence(self, metric: str) -> str:
        """Say in words what half of the tokens would have cost a metric."""
        half = self.at(max(self.longest // 2, 1))
        estimate = half.scores[metric]
        low, high = estimate.bounds or estimate.ci
        tokens = f"{half.tokens:,} token{'' if half.tokens == 1 else 's'}"
        one, all_of_them = ("sample", "samples") if self.calls > 1 else ("reply", "replies")
        return (
            f"With at most {tokens} a {one}, half of the longest, {metric} would have been "
            f"{estimate.value:.3f} [{low:.3f}, {high:.3f}], with {half.cut:.1%} of the {all_of_them} cut off."
        )

    def at(self, tokens: int) -> BudgetPoint:
        """Return the scores with at most ``tokens`` for each sample; above ``longest`` those of the run."""
        cut = float(np.mean(self._cut | (self._tokens > tokens)))
        return BudgetPoint(tokens, cut, {one.info.name: _estimate(one, tokens) for one in self._scored})

    def steps(self, n: int = 10) -> list[int]:
        """Return about ``n`` round limits from the shortest reply to the longest, evenly spaced in ratio."""
        shortest = int(self._tokens[self._tokens > 0].min())
        spaced = np.geomspace(shortest, self.longest, n).tolist()
        return sorted({min(_rounded_up(tokens), self.longest) for tokens in spaced})

    def points(self, most: int = 100) -> list[BudgetPoint]:
        """Return points of the curve, the longest reply last.

        They are all lengths where the curve changes if there are at most ``most``, else quantiles: between
        two of them a share 1/most of the replies ends.
        """
        lengths = np.unique(self._tokens[self._tokens > 0])
        if len(lengths) > most:
            shares = np.linspace(0, 1, most)
            lengths = np.unique(np.quantile(self._tokens[self._tokens > 0], shares, method="higher"))
        return [self.at(int(tokens)) for tokens in lengths]


def cut_replies(store: Store, run: Run) -> CutReplies | None:
    """Return how many replies of a run were cut, and what that leaves open; None where none was cut."""
    n = run.counts.get("truncated", 0)
    if n == 0:
        return None
    endings, bounds = store.samples.endings(run.id), {}
    for one in _scored(store, run, endings, np.ones(len(endings.cut), dtype=bool)):
        low, high = incomplete_bounds(
            one.values[~one.cut], int(np.count_nonzero(one.cut)), one.info.low, one.info.high
        )
        if math.isfinite(high - low):
            bounds[one.info.name] = low, high
    return CutReplies(n, run.n, run.cut_in_reasoning, bounds)


def _rounded_up(tokens: float) -> int:
    """Return the next number with two digits before its zeros: 1,234.5 becomes 1,300."""
    unit: int = 10 ** max(len(str(int(tokens))) - 2, 0)
    return math.ceil(round(tokens / unit, 6)) * unit


def _known(endings: Endings) -> NDArray[np.bool_]:
    """Return which samples have a known score at every limit: all but those of unknown length."""
    known: NDArray[np.bool_] = (np.asarray(endings.tokens) > 0) | np.asarray(endings.failed, dtype=bool)
    return known


def _scored(store: Store, run: Run, endings: Endings, known: NDArray[np.bool_]) -> list[_Scored]:
    """Return the scores of the metrics that judge the output, over the ``known`` of the samples."""
    infos = [info for info in run.spec.metrics if not _left_out(run, info)]
    columns = store.samples.columns(run.id, [info.name for info in infos])
    missing = (run.spec.n_expected or run.n) - len(endings.sequences)
    scored = []
    for info in infos:
        if (column := columns.get(info.name)) is None:  # a value of the task's own, without samples' scores
            continue
        values = np.asarray(column.values)
        rows = np.searchsorted(endings.sequences, column.sequences)
        kept = known[rows] & ~np.isnan(values)
        if not kept.any():
            continue
        rows, lost = rows[kept], missing + int(np.count_nonzero(~kept))
        tokens, cut = np.asarray(endings.tokens)[rows], np.asarray(endings.cut, dtype=bool)[rows]
        scored.append(_Scored(info, values[kept], np.asarray(column.clusters)[kept], tokens, cut, lost))
    return scored


def _left_out(run: Run, info: MetricInfo) -> str:
    """Return why a metric has no score at a smaller limit; empty where it has one."""
    if not info.judges_output:
        return "it does not judge the output"
    if info.name not in run.metrics:
        return "it has no value"
    return "" if is_mean(run, info.name) else "its value is not a mean over the samples"


def _estimate(one: _Scored, tokens: int) -> Estimate:
    """Estimate a metric with at most ``tokens`` for each sample; with bounds where scores are missing."""
    low, high = one.info.low, one.info.high
    values = np.where(one.tokens > tokens, one.info.worst, one.values)
    estimated = estimate(values, clusters=one.clusters, low=low, high=high)
    if not one.lost:
        return estimated
    return msgspec.structs.replace(estimated, bounds=incomplete_bounds(values, one.lost, low, high))
