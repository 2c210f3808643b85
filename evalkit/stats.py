"""Uncertainty of a mean: standard errors, confidence intervals, and bounds where samples are missing.

Source: Miller 2024, "Adding Error Bars to Evals" (standard errors, clusters); Wilson 1927 (proportions).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.types import Estimate

Interval = tuple[float, float]
Values = Sequence[float] | NDArray[np.float64]
Clusters = Sequence[str | None] | NDArray[np.int64]
"""The cluster of each sample, as a name (None: a cluster of one sample) or as a number."""

_DRAWS = 1000


def estimate(
    values: Values,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
    low: float | None = None,
    high: float | None = None,
) -> Estimate:
    """Return the mean of n scores, each from ``low`` to ``high``, with its standard error and interval.

    The standard error is sd/√n. Where samples share a cluster, it is
    √(C/(C−1) · Σ_c (Σ_i∈c (s_i − s̄))²) / n over C clusters. ``Estimate.method`` names the interval:

    - ``wilson``: unclustered scores that are all 0 or 1, in a range that is [0, 1] or not given;
    - ``t``: other unclustered scores; Student's t with n − 1 degrees of freedom, cut at the range;
    - ``clustered t``: clustered scores; the same with the clustered error and C − 1 degrees of freedom;
    - ``wilson over clusters``: clustered 0/1 scores whose clustered error is 0, for example where all are
      right: each cluster then counts as one observation;
    - ``unvaried``: other scores that are all equal, in a finite range. Their error of 0 is too small. A share
      z²/(n + z²) of samples may differ, Wilson's bound for an event never seen in n samples (or clusters),
      and such samples may have any score of the range;
    - ``undetermined``: one sample or one cluster. The error is infinite and the interval is the whole range.

    Raises ``ValueError`` without values, or with one that is not finite.
    """
    scores = _checked(values)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: it must lie between 0 and 1")
    n, mean = len(scores), float(scores.mean())
    members = _cluster_numbers(clusters, n)
    units = n if members is None else int(members.max()) + 1
    repeated = None if members is None else units
    if units == 1:
        return Estimate(mean, math.inf, _range(low, high), n, "undetermined", repeated, level)
    deviations = scores - mean
    sums = deviations if members is None else np.bincount(members, weights=deviations)
    equal = scores.min() == scores.max()
    se = 0.0 if equal else math.sqrt(units / (units - 1) * float((sums * sums).sum())) / n
    if _is_proportion(scores, low, high) and (members is None or se == 0):
        method = "wilson" if members is None else "wilson over clusters"
        return Estimate(mean, se, _wilson(mean, units, level), n, method, repeated, level)
    floor, ceiling = _range(low, high)
    if se == 0 and math.isfinite(ceiling - floor):
        unseen = _unseen(units, level)
        ci = (mean - unseen * (mean - floor), mean + unseen * (ceiling - mean))
        return Estimate(mean, se, ci, n, "unvaried", repeated, level)
    reach = t_quantile((1 + level) / 2, units - 1) * se
    ci = (max(mean - reach, floor), min(mean + reach, ceiling))
    return Estimate(mean, se, ci, n, "t" if members is None else "clustered t", repeated, level)


def bootstrap(
    values: Values,
    aggregate: Callable[[Sequence[float]], float],
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
    low: float | None = None,
    high: float | None = None,
) -> Estimate:
    """Estimate ``aggregate(values)``, a statistic that is not a mean, by the bootstrap.

    1,000 resamples are drawn, of whole clusters where there are clusters; the standard error is their
    standard deviation. The interval reaches to the outer ends of two others: the percentile interval, moved
    by twice the bias of the resamples, so that its middle is the value less the bias (an expected calibration
    error is biased upwards), and the basic interval, the percentile interval mirrored at the value (Efron and
    Tibshirani 1993, chapters 10 and 13). To each reach is added, in squares, what n samples cannot rule out:
    a share z²/(n + z²) of other samples, Wilson's bound for an event never seen, that would bring the value
    to the end of its range. So 20 right answers are not certain. The value always lies in the interval.
    The draws are seeded: the same values give the same interval. Resamples without a finite value are left
    out. ``undetermined``, with the whole range as interval: one sample or one cluster, or a value that is not
    finite. Raises ``ValueError`` without values, or with one that is not finite.
    """
    scores = _checked(values)
    members = _cluster_numbers(clusters, len(scores))
    numbers = np.arange(len(scores)) if members is None else members
    groups = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    value, count = float(aggregate(scores.tolist())), None if members is None else len(groups)
    if len(groups) == 1 or not math.isfinite(value):
        return Estimate(value, math.inf, _range(low, high), len(scores), "undetermined", count, level)
    generator = np.random.default_rng(0)
    resampled = []
    for _ in range(_DRAWS):
        drawn = generator.integers(len(groups), size=len(groups))
        resampled.append(float(aggregate(scores[np.concatenate([groups[unit] for unit in drawn])].tolist())))
    error, ci = _resampled(value, np.asarray(resampled), len(groups), level, _range(low, high))
    return Estimate(value, error, ci, len(scores), "bootstrap", count, level)


def _resampled(
    value: float, draws: NDArray[np.float64], units: int, level: float, whole: Interval
) -> tuple[float, Interval]:
    """Return the standard error and the interval of ``bootstrap`` from the resampled values."""
    draws = draws[np.isfinite(draws)]
    if len(draws) < 2:
        return math.inf, whole
    lower, upper = (float(q) for q in np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]))
    bias = float(draws.mean()) - value
    down = max(value - (lower - 2 * bias), upper - value, 0.0)
    up = max(upper - 2 * bias - value, value - lower, 0.0)
    error = float(np.std(draws, ddof=1))
    below, above = (
        math.hypot(reach, _unseen(units, level) * room) if math.isfinite(room) else reach if error else room
        for reach, room in ((down, value - whole[0]), (up, whole[1] - value))
    )
    return error, (max(value - below, whole[0]), min(value + above, whole[1]))


def _unseen(n: int, level: float) -> float:
    """Return Wilson's upper bound of the share of an event that none of ``n`` observations shows."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    return z * z / (n + z * z)


def paired(
    a: Values,
    b: Values,
    *,
    clusters: Clusters | None = None,
    level: float = 0.95,
    low: float | None = None,
    high: float | None = None,
) -> Estimate:
    """Return the mean of a − b over the same n samples; ``low`` to ``high`` is the range of each score.

    The standard error is the error of the differences, sd(a − b)/√n, clustered where samples share a cluster
    (Miller 2024, section 4.2); the interval is that of ``estimate``. Where all differences are equal, it is
    ``unvaried``; without a range of the scores, it is then infinite.
    Raises ``ValueError`` for lists of different length.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values are not pairs")
    reach = math.inf if low is None or high is None else high - low
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    mean = estimate(differences, clusters=clusters, level=level, low=-reach, high=reach)
    if mean.se == 0 and not math.isfinite(reach):
        return msgspec.structs.replace(mean, ci=(-math.inf, math.inf), method="unvaried")
    return mean


def combined(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """Estimate the weighted mean of independent estimates from their intervals, which may be lopsided.

    Each side reaches √Σ wᵢ² rᵢ² from the mean, where rᵢ is the reach of the i-th interval on that side and
    the weights sum to 1 (the method of variance estimates recovery: Zou and Donner 2008; for proportions
    Newcombe 1998). So parts that are all right or all wrong keep their width. Raises ``ValueError`` without
    estimates.
    """
    if not estimates:
        raise ValueError("there are no estimates to combine")
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    value = math.fsum(w * e.value for w, e in zip(shares, estimates, strict=True))
    down = math.hypot(*(w * (e.value - e.ci[0]) for w, e in zip(shares, estimates, strict=True)))
    up = math.hypot(*(w * (e.ci[1] - e.value) for w, e in zip(shares, estimates, strict=True)))
    se = math.hypot(*(w * e.se for w, e in zip(shares, estimates, strict=True)))
    n = sum(e.n for e in estimates)
    return Estimate(value, se, (value - down, value + up), n, "combined", level=estimates[0].level)


def p_value(difference: Estimate, low: float | None, high: float | None) -> float:
    """Return the p value of a two-sided test that a paired difference is 0: Student's t, by its error.

    ``low`` to ``high`` is the range of each score. Where all differences are equal (``unvaried``), it is the
    level at which their interval would just reach 0. An undetermined difference has the p value 1.
    """
    if difference.method == "undetermined" or difference.value == 0:
        return 1.0
    units = difference.clusters or difference.n
    if difference.method == "unvaried":
        reach = math.inf if low is None or high is None else high - low
        return 2 * NormalDist().cdf(-math.sqrt(units * abs(difference.value) / reach))
    statistic = abs(difference.value) / difference.se
    if units - 1 <= 100:
        return max(1 - _t_coverage(math.atan(statistic / math.sqrt(units - 1)), units - 1), 0.0)
    lower, upper = 0.5, 1.0  # above, the quantile is an expansion around the normal one, which is inverted
    for _ in range(60):
        middle = (lower + upper) / 2
        if middle >= 1 or t_quantile(middle, units - 1) > statistic:
            upper = middle
        else:
            lower = middle
    return 2 * (1 - lower)


def holm(p_values: Sequence[float], error: float = 0.05) -> list[bool]:
    """Return which hypotheses fall, so that the chance of even one false rejection is at most ``error``.

    The i-th smallest of m p values must be at most error / (m − i + 1), and so must all smaller ones.
    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    rejected = [False] * len(p_values)
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[i] > error / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def incomplete_bounds(values: Values, missing: int, low: float | None, high: float | None) -> Interval:
    """Return the lowest and highest mean possible with ``missing`` more scores between ``low`` and ``high``.

    A side of the range that is None is infinite, and so is its bound. Raises ``ValueError`` if there is
    neither a value nor a missing one.
    """
    if missing == 0:
        mean = float(_checked(values).mean())
        return mean, mean
    total, n = float(np.sum(values)), len(values) + missing
    floor, ceiling = _range(low, high)
    return (total + missing * floor) / n, (total + missing * ceiling) / n


def _checked(values: Values) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if scores.size == 0:
        raise ValueError("there are no values to estimate a mean from")
    if not np.isfinite(scores).all():
        raise ValueError(
            "a value is not finite: a score that could not be computed must be left out as missing"
        )
    return scores


def _cluster_numbers(clusters: Clusters | None, n: int) -> NDArray[np.intp] | None:
    """Number the clusters from 0 in their order, sample by sample; None where no two samples share one."""
    if clusters is None:
        return None
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters for {n} values")
    if isinstance(clusters, np.ndarray):
        if len(np.unique(clusters)) == n:
            return None
        _, first, sorted_numbers = np.unique(clusters, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[sorted_numbers]
    numbers: dict[str | int, int] = {}
    keys = (i if name is None else name for i, name in enumerate(clusters))
    members = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.asarray(members, dtype=np.intp) if len(numbers) < n else None


def _range(low: float | None, high: float | None) -> Interval:
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _is_proportion(scores: NDArray[np.float64], low: float | None, high: float | None) -> bool:
    return (low, high) in ((0, 1), (None, None)) and bool(np.isin(scores, (0.0, 1.0)).all())


def _wilson(p: float, n: int, level: float) -> Interval:
    """Return Wilson's score interval of a proportion ``p`` of ``n``: never empty, never outside [0, 1]."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = p + z * z / (2 * n)
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # For p = 0 and p = 1 the bound is exact; the formula has rounding errors.
    low = 0.0 if p == 0 else max((centre - reach) / scale, 0.0)
    high = 1.0 if p == 1 else min((centre + reach) / scale, 1.0)
    return low, high


@lru_cache(maxsize=1024)
def t_quantile(p: float, df: int) -> float:
    """Return the quantile of Student's t for p > 1/2.

    Up to 100 degrees of freedom: bisection of the exact distribution. Above: the expansion around the normal
    quantile (Abramowitz and Stegun 26.7.3-5), whose error is then below 1e-8.
    """
    if df > 100:
        z = NormalDist().inv_cdf(p)
        terms = (
            z,
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return sum(term * float(df) ** -power for power, term in enumerate(terms))
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_coverage(middle, df) < 2 * p - 1 else (low, middle)
    return math.sqrt(df) * math.tan((low + high) / 2)


def _t_coverage(theta: float, df: int) -> float:
    """Return the probability that |t| < √df · tan(theta), by the finite series for integer ``df``."""
    cosine, odd = math.cos(theta), df % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for i in range(odd + 1, df, 2):
        total += term
        term *= i / (i + 1) * cosine**2
    series = math.sin(theta) * total
    return 2 / math.pi * (theta + series) if odd else series
