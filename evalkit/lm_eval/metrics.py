"""lm-eval's metrics as evalkit metrics: one for each metric and filter, under lm-eval's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace

from evalkit.metric import Metric
from evalkit.stats import estimate
from evalkit.types import Answer, Estimate, Sample, Status

Aggregation = Callable[[Sequence[Any]], Any]

_RANGES: dict[str, tuple[float, float | None]] = {
    "acc": (0, 1),
    "acc_norm": (0, 1),
    "acc_bytes": (0, 1),
    "acc_mutual_info": (0, 1),
    "exact_match": (0, 1),
    "f1": (0, 1),
    "mcc": (-1, 1),
    "brier_score": (0, 2),
    "bleu": (0, 100),
    "chrf": (0, 100),
    "chrf++": (0, 100),
    "ter": (0, None),
    "perplexity": (0, None),
    "word_perplexity": (0, None),
    "byte_perplexity": (0, None),
    "bits_per_byte": (0, None),
}
_DESCENDING = frozenset(
    {"ter", "brier_score", "perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}
)
# Corpus scores for which lm-eval has no standard error: evalkit computes one by the bootstrap.
_CHEAP = frozenset({"weighted_perplexity", "bits_per_byte", "brier_score"})
_DRAWS = 1000
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class HarnessMetric(Metric):
    """A metric of lm-eval, which scores every reply, also one that is truncated or empty."""

    def __post_init__(self) -> None:
        """Accept a metric without a worst score, because lm-eval's scores are never replaced."""

    def __call__(self, sample: Sample, answer: Answer, status: Status | None = None) -> float | None:
        """Return the value for one document; None where lm-eval gives no finite number."""
        value = self.fn(sample, answer)
        return value if value is not None and math.isfinite(value) else None


def range_of(base: str) -> tuple[float, float | None]:
    """Return the lowest and the highest value of one of lm-eval's metrics, infinite or None where unknown."""
    return _RANGES.get(base, (-math.inf, None))


def without_credit(base: str, value: float) -> float:
    """Return the value of one of lm-eval's metrics for a reply without an answer; ``value`` where unknown."""
    low, _ = range_of(base)
    return value if base in _DESCENDING else min(value, low if math.isfinite(low) else 0.0)


def make_metric(
    name: str, base: str, fn: Callable[[Sample, Answer], float | None], higher_is_better: bool | None
) -> HarnessMetric:
    """Return a metric called ``name`` with the range of lm-eval's metric ``base``."""
    low, high = range_of(base)
    better = base not in _DESCENDING if higher_is_better is None else higher_is_better
    return HarnessMetric(name, fn, low, high, better, help="as lm-eval computes it")


def is_lost(item: Any, aggregation: Aggregation) -> bool:
    """Return whether a document has no number where lm-eval takes the mean over all documents.

    Another aggregation may leave such documents out by design.
    """
    from lm_eval.api.metrics import mean

    number = isinstance(item, float | np.floating)
    return aggregation is mean and (item is None or (number and not math.isfinite(item)))


def per_document(item: Any, aggregation: Aggregation) -> float | None:
    """Return the score of one document: its number, or the aggregation of its value alone."""
    if isinstance(item, bool | int | float | np.bool_ | np.integer | np.floating):
        return float(item)
    try:
        return float(aggregation([item]))
    except (ArithmeticError, TypeError, ValueError, LookupError):
        return None  # the score is not defined for a single document


def estimate_of(
    metric: HarnessMetric,
    value: float,
    stderr: Any,
    items: Sequence[Any],
    aggregation: Aggregation | None,
    mean: Estimate | None,
) -> Estimate:
    """Return lm-eval's value and standard error with an interval.

    ``mean`` is the estimate from the documents' scores, where lm-eval's value is their mean: its interval is
    used then.
    """
    n = len(items)
    if mean is not None:
        se = stderr if isinstance(stderr, float) else mean.se
        return replace(mean, value=value, se=se)
    if stderr == 0 and math.isfinite(metric.low) and metric.high is not None:
        alike = estimate([value] * n, low=metric.low, high=metric.high)  # no sample differs: not certain
        return replace(alike, value=value, se=0.0, method=alike.method if value in (0, 1) else "bootstrap")
    if isinstance(stderr, float) and math.isfinite(stderr):
        reach = _Z95 * stderr
        return Estimate(value, stderr, _within(metric, value - reach, value + reach), n, "bootstrap")
    if getattr(aggregation, "__name__", "") in _CHEAP and aggregation is not None and n > 1:
        return _bootstrapped(metric, value, items, aggregation)
    return Estimate(value, math.inf, _within(metric, -math.inf, math.inf), n, "undetermined")


def _bootstrapped(
    metric: HarnessMetric, value: float, items: Sequence[Any], aggregation: Aggregation
) -> Estimate:
    random = np.random.default_rng(0)
    n = len(items)
    draws = [float(aggregation([items[i] for i in random.integers(0, n, n)])) for _ in range(_DRAWS)]
    low, high = (float(x) for x in np.quantile(draws, (0.025, 0.975)))
    return Estimate(value, float(np.std(draws, ddof=1)), _within(metric, low, high), n, "bootstrap")


def _within(metric: HarnessMetric, low: float, high: float) -> tuple[float, float]:
    return max(low, metric.low), min(high, math.inf if metric.high is None else metric.high)
