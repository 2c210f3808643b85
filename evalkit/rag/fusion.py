"""Reciprocal rank fusion: one ranking from several, of passages, rows of an index or anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T", int, str)

CONSTANT = 60  # as in Cormack, Clarke and Büttcher


def fuse(rankings: Sequence[Sequence[T]], k: int, constant: int = CONSTANT) -> tuple[list[T], list[float]]:
    """Return the ``k`` entries with the highest sum of 1 / (constant + rank), and their sums.

    Ranks count from 1; a ranking adds nothing to an entry that it lacks. Of equal sums the smaller
    entry comes first.
    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods", SIGIR 2009.
    """
    sums: dict[T, float] = {}
    for ranking in rankings:
        for rank, entry in enumerate(ranking, 1):
            sums[entry] = sums.get(entry, 0.0) + 1 / (constant + rank)
    best = sorted(sums, key=lambda entry: (-sums[entry], entry))[:k]
    return best, [sums[entry] for entry in best]
