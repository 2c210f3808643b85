"""Ranking by score, the same everywhere: higher first, ties by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def best(scores: NDArray[Any], k: int, rows: NDArray[Any] | None = None) -> list[tuple[int, float]]:
    """The ``k`` best (row, score), of ``scores`` (n,) that belong to ``rows`` (n,), by default 0 … n-1."""
    rows = np.arange(len(scores)) if rows is None else rows
    if k < len(scores):
        enough = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]  # with all ties of the last
        scores, rows = scores[enough], rows[enough]
    order = np.lexsort((rows, -scores))[:k]
    return [(int(rows[i]), float(scores[i])) for i in order]


def best_rows(scores: NDArray[Any], rows: NDArray[Any], k: int) -> list[list[tuple[int, float]]]:
    """The same for many queries at once, (q, n) each, where row -1 means that nothing was found."""
    order = np.lexsort((rows, -scores))[:, :k]
    each = np.arange(len(rows))[:, None]
    scores, rows = scores[each, order], rows[each, order]
    pairs = zip(rows.tolist(), scores.tolist(), strict=True)
    if rows.size and rows.min() < 0:
        return [[(row, score) for row, score in zip(r, s, strict=True) if row >= 0] for r, s in pairs]
    return [list(zip(r, s, strict=True)) for r, s in pairs]


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


def blend(
    rankings: Sequence[Sequence[tuple[int, float]]], weights: Sequence[float], k: int
) -> list[tuple[int, float]]:
    """Weighted fusion: the ``k`` rows with the highest sum of weight · score scaled to 0 … 1 in its ranking.

    A row that a ranking lacks gets 0 of it. Source: Bruch, Gai and Ingber, "An Analysis of Fusion Functions
    for Hybrid Retrieval", TOIS 2023, whose convex combination with min-max normalization this is.
    """
    sums: dict[int, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        values = scaled(np.array([score for _, score in ranking]))
        for (row, _), value in zip(ranking, values.tolist(), strict=True):
            sums[row] = sums.get(row, 0.0) + weight * value
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:k]


def fuse(rankings: Sequence[Sequence[int]], k: int, constant: int = 60) -> list[tuple[int, float]]:
    """Reciprocal rank fusion: the ``k`` rows with the highest sum of 1 / (constant + rank), ranks from 1.

    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods", SIGIR 2009, whose constant is 60.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking, 1):
            scores[row] = scores.get(row, 0.0) + 1 / (constant + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]
