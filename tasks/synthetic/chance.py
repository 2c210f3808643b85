"""Random numbers that are the same on every machine and every Python.

Only ``Random.random`` is used, whose sequence Python guarantees; ``choice``, ``shuffle`` and ``gauss`` have
changed between versions. Nothing here calls the C library's mathematics, whose last bit may differ.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """A stream of random choices with a key: ``Chance(7, "topic", 12)`` does not depend on other topics."""

    def __init__(self, *key: int | str) -> None:
        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8], "big")).random

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        return low + int(self._random() * (high - low + 1))

    def choice(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def happens(self, probability: float) -> bool:
        return self._random() < probability

    def normal(self) -> float:
        """Return a nearly standard normal number: the sum of twelve uniform numbers, minus six."""
        total = -6.0
        for _ in range(12):  # not sum(): Python 3.12 changed how it adds floats
            total += self._random()
        return total
