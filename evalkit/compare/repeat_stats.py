"""Statistics of several answers to one question: pass@k, maj@k, pass^k, and where the variance comes from.

Sources: Chen et al. 2021, "Evaluating Large Language Models Trained on Code" (pass@k); Wang et al. 2023,
"Self-Consistency" (the majority vote); Yao et al. 2024, "τ-bench" (pass^k); Miller 2024, "Adding Error Bars
to Evals", section 3 (law of total variance); Arvesen and Schmitz 1970 (jackknife of a ratio of variances).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from evalkit.stats import Interval, estimate

LEAST_VARIED = 10
"""The least number of samples with unequal scores from which the share of sampling has an interval."""


@lru_cache(maxsize=4096)
def pass_at(k: int, n: int, right: int) -> float:
    """Return the chance that at least one of ``k`` answers is right, of ``n`` of which ``right`` are right.

    The unbiased estimate 1 − C(n − c, k) / C(n, k): the share of the subsets of k answers.
    """
    return 1 - math.comb(n - right, k) / math.comb(n, k)


@lru_cache(maxsize=4096)
def pass_all(k: int, n: int, right: int) -> float:
    """Return the chance that all of ``k`` answers are right: pass^k, C(c, k) / C(n, k)."""
    return math.comb(right, k) / math.comb(n, k)


def majority_at(k: int, votes: Sequence[str | None], scores: Sequence[float]) -> float:
    """Return the mean score of the majority's answer over all subsets of ``k`` of the answers.

    ``votes`` names what each answer said: equal names are votes for the same. Answers that share the most
    votes share the win. None is no vote; a subset without any vote scores 0. The score of a vote is the
    mean of its answers' scores.
    """
    counts = Counter(vote for vote in votes if vote is not None)
    sums: dict[str, float] = dict.fromkeys(counts, 0.0)
    for vote, score in zip(votes, scores, strict=True):
        if vote is not None:
            sums[vote] += score
    names = sorted(counts, key=lambda name: counts[name])
    wins = _wins(tuple(counts[name] for name in names), len(votes) - counts.total(), k)
    return math.fsum(wins[counts[name]] * sums[name] / counts[name] for name in names)


@lru_cache(maxsize=4096)
def _wins(counts: tuple[int, ...], blank: int, k: int) -> Mapping[int, float]:
    """Return the share of the subsets of ``k`` that an answer wins, by the number of its votes in all.

    ``counts`` are the votes of all answers, ``blank`` the number of those who do not vote.
    """
    subsets = math.comb(sum(counts) + blank, k)
    shares = {}
    for own in set(counts):
        others = list(counts)
        others.remove(own)
        won = math.fsum(
            math.comb(own, votes) * _best_with(votes, others, blank, k) for votes in range(1, min(own, k) + 1)
        )
        shares[own] = won / subsets
    return shares


def _best_with(votes: int, others: Sequence[int], blank: int, k: int) -> float:
    """Count the ways to draw the rest of ``k`` so that no other has more ``votes``; t ties give 1/(t + 1)."""
    ways: Counter[tuple[int, int]] = Counter({(votes, 0): 1})  # by the number drawn and the number of ties
    for count in others:
        extended: Counter[tuple[int, int]] = Counter()
        for (drawn, ties), n in ways.items():
            for more in range(min(count, votes, k - drawn) + 1):
                extended[drawn + more, ties + (more == votes)] += n * math.comb(count, more)
        ways = extended
    return math.fsum(n * math.comb(blank, k - drawn) / (ties + 1) for (drawn, ties), n in ways.items())


class VarianceSplit(Struct, frozen=True):
    """Where the variance of a score comes from: ``questions`` that differ, or ``sampling`` of the answer.

    ``questions`` is the variance of the samples' expected scores, ``sampling`` the mean variance of the
    repeats of one sample. Both are the unbiased estimates of one-way random effects (0 where the first is
    below); they sum to the variance of one score. ``share`` is that of sampling, ``ci`` its 95 % interval,
    None where fewer than ``LEAST_VARIED`` samples have unequal scores. ``se`` is the standard error of the
    mean; with one repeat of each sample it would be ``se_of_one``, with endlessly many ``se_of_endless``.
    """

    questions: float
    sampling: float
    share: float
    ci: Interval | None
    se: float
    se_of_one: float
    se_of_endless: float


def split_variance(
    scores: NDArray[np.float64], samples: NDArray[np.int64], clusters: NDArray[np.int64], se: float
) -> VarianceSplit | None:
    """Split the variance of the scores; ``samples`` numbers the sample of each, ``clusters`` its cluster.

    ``se`` is the clustered standard error of their mean. None for fewer than two samples, without a repeat,
    or where all scores are equal.
    """
    _, first, index = np.unique(samples, return_index=True, return_inverse=True)
    n = np.bincount(index).astype(np.float64)
    if len(n) < 2 or n.max() < 2 or scores.min() == scores.max():
        return None
    centred = scores - scores.mean()
    sums, squares = np.bincount(index, centred), np.bincount(index, centred * centred)
    _, cluster = np.unique(clusters[first], return_inverse=True)
    parts: NDArray[np.float64] = np.stack(
        [np.bincount(cluster, part) for part in (n**0, n, n * n, sums, sums**2 / n, squares)]
    )
    totals = parts.sum(axis=1)
    between, within, repeats = _mean_squares(totals)
    sampling = float(within)
    questions = max(float((between - within) / repeats), 0.0)
    varied = np.count_nonzero(squares - sums**2 / n > 1e-12)
    enough = varied >= LEAST_VARIED and parts.shape[1] >= LEAST_VARIED
    of_one, of_all = sampling / len(n), sampling / len(scores)
    return VarianceSplit(
        questions,
        sampling,
        sampling / (questions + sampling),
        _interval_of_share(parts, totals) if enough else None,
        se,
        math.sqrt(max(se * se - of_all, 0.0) + of_one),
        math.sqrt(max(se * se - of_all, 0.0)),
    )


def _mean_squares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean squares between and within samples, and the typical number of repeats (Searle 1971).

    ``sums`` are, over samples: their number, repeats, squared repeats, sums of scores, squared sums by
    repeats, and squared scores.
    """
    m, n, n_squared, total, of_means, squares = sums
    between, within = (of_means - total**2 / n) / (m - 1), (squares - of_means) / (n - m)
    return np.stack([between, within, (n - n_squared / n) / (m - 1)])


def _interval_of_share(parts: NDArray[np.float64], totals: NDArray[np.float64]) -> Interval:
    """Return the interval of sampling's share: Student's t over the jackknife of the log ratio of variances.

    ``parts`` has a column for each cluster, left out in turn.
    """
    groups = parts.shape[1]
    between, within, repeats = _mean_squares(np.column_stack([totals, totals[:, None] - parts]))
    logs = np.log(np.maximum(between, 1e-12)) - np.log(within)
    low, high = estimate(groups * logs[0] - (groups - 1) * logs[1:]).ci
    return _share(float(repeats[0]), high), _share(float(repeats[0]), low)


def _share(repeats: float, log_ratio: float) -> float:
    """Return sampling's share by the log ratio of the mean squares between and within samples."""
    return min(repeats / (repeats + math.exp(min(log_ratio, 500.0)) - 1), 1.0)
