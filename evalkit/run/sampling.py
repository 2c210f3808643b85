"""The samples that a run takes from a large data set: the first, a random part, or a stratified part.

Which samples are chosen depends on their ids and the seed alone, so that every model answers the same ones,
on every machine and after ``resume``.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np

from evalkit.collection.items import Item
from evalkit.errors import UsageError
from evalkit.run.fingerprint import Samples
from evalkit.store.records import Sampling
from evalkit.types import Sample

Stratum = tuple[Any, ...]


async def selected(item: Item, samples: Samples, limit: int | None, sampling: Sampling | None) -> Samples:
    """Return a function that starts a pass over the chosen samples, in the order of the data.

    Without ``sampling`` it yields all: the first ``limit`` are taken later. ``random`` takes ``limit``
    samples, each set equally likely. ``stratified`` takes as large a share of each group of samples with
    equal slices, or of equal targets where samples have no slices. Raises ``UsageError`` where there are no
    groups.
    """
    if sampling is None or limit is None:
        return samples
    draws: dict[Stratum, array[int]] = {}
    async for sample in samples():
        draws.setdefault(_stratum(sample, sampling), array("Q")).append(_draw(sample, sampling.seed))
    total = sum(map(len, draws.values()))
    if sampling.how == "stratified" and 2 * len(draws) > total:
        raise UsageError(
            f"{item.node_id}: --sample stratified finds no groups: {total:,} samples have {len(draws):,} "
            "different slices or targets. Use --sample random"
        )
    sizes = _allocated({stratum: len(numbers) for stratum, numbers in draws.items()}, limit)
    highest = {stratum: int(np.sort(draws[stratum])[size - 1]) for stratum, size in sizes.items() if size}

    async def chosen() -> AsyncIterator[Sample]:
        async for sample in samples():
            if _draw(sample, sampling.seed) <= highest.get(_stratum(sample, sampling), -1):
                yield sample

    return chosen


def _stratum(sample: Sample, sampling: Sampling) -> Stratum:
    if sampling.how == "random":
        return ()
    return tuple(sorted(sample.slices.items())) or sample.targets


def _draw(sample: Sample, seed: int) -> int:
    """Return a number of 64 bits, as good as random, that depends on the sample's id and the seed alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{sample.id}".encode()).digest()[:8])


def _allocated(sizes: Mapping[Stratum, int], limit: int) -> dict[Stratum, int]:
    """Return how many samples each stratum gives: in proportion, what is left by the largest remainders."""
    total = sum(sizes.values())
    limit = min(limit, total)
    exact = {stratum: limit * size / total for stratum, size in sizes.items()}
    given = {stratum: math.floor(share) for stratum, share in exact.items()}
    by_remainder = sorted(exact, key=lambda stratum: given[stratum] - exact[stratum])
    for stratum in by_remainder[: limit - sum(given.values())]:
        given[stratum] += 1
    return given
