"""Ranking by score, the same for all engines: higher first, ties by row.

A ranking is two lists and not a list of pairs: thousands of pairs per batch would cost more than all else
that evalkit adds to a search, half of it for garbage collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hits = tuple[list[int], list[float]]  # rows and their scores, best first


def best(scores: NDArray[Any], k: int, rows: NDArray[Any] | None = None) -> Hits:
    """Return the ``k`` best of ``scores`` (n,), which belong to ``rows`` (n,), by default 0 … n-1."""
    rows = np.arange(len(scores)) if rows is None else rows
    if k < len(scores):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        scores, rows = scores[scores >= threshold], rows[scores >= threshold]  # with all ties of the last
    order = np.lexsort((rows, -scores))[:k]
    return rows[order].tolist(), scores[order].tolist()


def in_order(scores: NDArray[Any], rows: NDArray[Any], k: int) -> list[Hits]:
    """Return the ``k`` best of rankings (q, n) with falling scores, ties by row.

    Row -1, at the end of a ranking, means that nothing more was found.
    """
    tied = scores[:, 1:] >= scores[:, :-1]
    if np.count_nonzero(tied):
        with_ties = np.flatnonzero(tied.any(axis=1))
        order = np.lexsort((rows[with_ties], -scores[with_ties]))
        scores[with_ties] = np.take_along_axis(scores[with_ties], order, 1)
        rows[with_ties] = np.take_along_axis(rows[with_ties], order, 1)
    rankings = list(zip(rows[:, :k].tolist(), scores[:, :k].tolist(), strict=True))
    if np.count_nonzero(rows[:, -1] < 0):
        counts = [sum(row >= 0 for row in ranking) for ranking, _ in rankings]
        return [(r[:n], s[:n]) for (r, s), n in zip(rankings, counts, strict=True)]
    return rankings


def scaled(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return scores (n,) min-max scaled to 0 … 1; all 1 if they are equal."""
    low, high = (scores.min(), scores.max()) if len(scores) else (0, 0)
    if low == high:
        return np.ones(len(scores))
    return (scores - low).astype(np.float64) / float(high - low)


def diversify(
    relevance: NDArray[Any], similarity: NDArray[Any], k: int, trade: float
) -> list[tuple[int, float]]:
    """Return ``k`` pairs (position, value) by maximal marginal relevance (MMR), in the order of choice.

    Each step takes the remaining candidate with the highest value of
    trade · relevance - (1 - trade) · (greatest similarity to those taken before).
    ``relevance`` (n,), ``similarity`` (n, n); ties by position. Source: Carbonell and Goldstein, "The Use of
    MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries", SIGIR 1998.
    """
    nearest = np.zeros(len(relevance))
    left = np.ones(len(relevance), bool)
    picked: list[tuple[int, float]] = []
    for _ in range(min(k, len(relevance))):
        values = np.where(left, trade * relevance - (1 - trade) * nearest, -np.inf)
        position = int(values.argmax())
        picked.append((position, float(values[position])))
        left[position] = False
        nearest = np.maximum(nearest, similarity[position]) if len(picked) > 1 else similarity[position]
    return picked


def blend(rankings: Sequence[Hits], weights: Sequence[float], k: int) -> Hits:
    """Return the ``k`` best rows by weighted fusion: the sum of weight · score, min-max scaled per ranking.

    A row that is missing in a ranking gets 0 from it. Source: the convex combination of Bruch, Gai and
    Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", TOIS 2023.
    """
    sums: dict[int, float] = {}
    for (rows, scores), weight in zip(rankings, weights, strict=True):
        for row, value in zip(rows, scaled(np.array(scores)).tolist(), strict=True):
            sums[row] = sums.get(row, 0.0) + weight * value
    rows = sorted(sums, key=lambda row: (-sums[row], row))[:k]
    return rows, [sums[row] for row in rows]
