"""Ranking by score, the same everywhere: higher first, ties by row.

A ranking is two lists, not pairs: thousands of pairs a batch would cost more than the rest of evalkit's part
in a search, half of it for the collector of garbage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hits = tuple[list[int], list[float]]  # rows and their scores, best first


def best(scores: NDArray[Any], k: int, rows: NDArray[Any] | None = None) -> Hits:
    """The ``k`` best of ``scores`` (n,) that belong to ``rows`` (n,), by default 0 … n-1."""
    rows = np.arange(len(scores)) if rows is None else rows
    if k < len(scores):
        enough = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]  # with all ties of the last
        scores, rows = scores[enough], rows[enough]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order].tolist(), scores[order].tolist()


def in_order(scores: NDArray[Any], rows: NDArray[Any], k: int) -> list[Hits]:
    """The ``k`` best of rankings (q, n) whose scores never rise, with ties by row. Row -1, at the end of a
    ranking, means that nothing more was found."""
    tied = scores[:, 1:] >= scores[:, :-1]
    if np.count_nonzero(tied):
        some = np.flatnonzero(tied.any(axis=1))
        order = np.lexsort((rows[some], -scores[some]))
        scores[some] = np.take_along_axis(scores[some], order, 1)
        rows[some] = np.take_along_axis(rows[some], order, 1)
    rankings = list(zip(rows[:, :k].tolist(), scores[:, :k].tolist(), strict=True))
    if np.count_nonzero(rows[:, -1] < 0):
        found = [sum(row >= 0 for row in ranking) for ranking, _ in rankings]
        return [(r[:n], s[:n]) for (r, s), n in zip(rankings, found, strict=True)]
    return rankings


def scaled(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Scores (n,) moved and stretched to 0 … 1; all 1 where they are equal."""
    low, high = (scores.min(), scores.max()) if len(scores) else (0, 0)
    if low == high:
        return np.ones(len(scores))
    return (scores - low).astype(np.float64) / float(high - low)


def diversify(
    relevance: NDArray[Any], similarity: NDArray[Any], k: int, trade: float
) -> list[tuple[int, float]]:
    """Maximal marginal relevance: ``k`` (place, value), each the best of what is left by
    trade · relevance - (1 - trade) · greatest similarity to what was picked before.

    ``relevance`` (n,), ``similarity`` (n, n); ties by place. Source: Carbonell and Goldstein, "The Use of
    MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries", SIGIR 1998.
    """
    nearest = np.zeros(len(relevance))
    left = np.ones(len(relevance), bool)
    picked: list[tuple[int, float]] = []
    for _ in range(min(k, len(relevance))):
        values = np.where(left, trade * relevance - (1 - trade) * nearest, -np.inf)
        place = int(values.argmax())
        picked.append((place, float(values[place])))
        left[place] = False
        nearest = np.maximum(nearest, similarity[place]) if len(picked) > 1 else similarity[place]
    return picked


def blend(rankings: Sequence[Hits], weights: Sequence[float], k: int) -> Hits:
    """Weighted fusion: the ``k`` rows with the highest sum of weight · score scaled to 0 … 1 in its ranking.

    A row that a ranking lacks gets 0 of it. Source: Bruch, Gai and Ingber, "An Analysis of Fusion Functions
    for Hybrid Retrieval", TOIS 2023, whose convex combination with min-max normalization this is.
    """
    sums: dict[int, float] = {}
    for (rows, given), weight in zip(rankings, weights, strict=True):
        for row, value in zip(rows, scaled(np.array(given)).tolist(), strict=True):
            sums[row] = sums.get(row, 0.0) + weight * value
    rows = sorted(sums, key=lambda row: (-sums[row], row))[:k]
    return rows, [sums[row] for row in rows]
