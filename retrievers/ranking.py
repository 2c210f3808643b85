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
    order = np.lexsort((rows, -scores), axis=-1)[:, :k]
    scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    pairs = zip(rows.tolist(), scores.tolist(), strict=True)
    if rows.size and rows.min() < 0:
        return [[(row, score) for row, score in zip(r, s, strict=True) if row >= 0] for r, s in pairs]
    return [list(zip(r, s, strict=True)) for r, s in pairs]


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
