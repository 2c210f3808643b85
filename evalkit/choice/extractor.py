"""What an extractor is: a versioned way to read the chosen option out of a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """The result of an extractor: an index into the options or None, and the ``rule`` that decided."""

    choice: int | None
    rule: str


@dataclass(frozen=True)
class Extractor:
    """A versioned way to read a reply. ``id`` (``letter.v1``) is stored with every answer."""

    name: str
    version: int
    read: Callable[[str, Sequence[str]], Reading]

    @property
    def id(self) -> str:
        """The extractor's name and version."""
        return f"{self.name}.v{self.version}"

    def __call__(self, text: str, options: Sequence[str]) -> Reading:
        """Return the option that ``text`` names; ``options`` are in the order shown to the model."""
        return self.read(text, options)
