"""Reciprocal rank fusion: one ranking out of several, of passages, of rows of an index, of anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T", int, str)

CONSTANT = 60  # as in Cormack, Clarke and Büttcher


def fuse(rankings: Sequence[Sequence[T]], k: int, constant: int = CONSTANT) -> tuple[list[T], list[float]]:
    """Return the ``k`` entries with the highest sum of 1 / (constant + rank), and their sums.

    Ranks count from 1; an entry that a ranking lacks gets nothing of it; ties go to the smaller entry.
    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods", SIGIR 2009.
    """
    sums: dict[T, float] = {}
    for ranking in rankings:
        for rank, entry in enumerate(ranking, 1):
            sums[entry] = sums.get(entry, 0.0) + 1 / (constant + rank)
    best = sorted(sums, key=lambda entry: (-sums[entry], entry))[:k]
    return best, [sums[entry] for entry in best]
