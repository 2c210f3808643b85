"""What an index can be told, and what it must be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from evalkit.protocols import Check
from evalkit.types import Passage

from ..corpus.chunking import Chunking
from ..encoding.recipes import DEFAULT_MODEL
from .topk import Hits


class Options(Chunking, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every index can be told: how documents are cut (see ``Chunking``), and whether to ``deduplicate``:
    of passages with the same title and text only the first by id.

    ``rerank``, ``mmr`` and ``depth`` (candidates) say what happens after the first search (see ``rerank``).
    """

    deduplicate: bool = False
    rerank: str | None = None
    mmr: float | None = None
    depth: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 1 or not 0 <= (self.mmr or 0) <= 1:
            raise ValueError("depth must be at least 1 and mmr between 0 (variety) and 1 (relevance)")

    @property
    def comparing(self) -> str:
        """The encoder that compares passages with each other."""
        return DEFAULT_MODEL


class Engine(Protocol):
    """One way of searching texts by row number."""

    def identity(self) -> dict[str, Any]:
        """What decides about the results beside the texts (encoder, parameters): goes into the manifest."""
        ...

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Write an index of titles and texts into ``folder``. Returns what was found out on the way."""
        ...

    def load(self, folder: Path) -> None:
        """Read the index."""
        ...

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """The ``k`` best rows for each query, ties by row; fewer where no more fit."""
        ...

    def check(self, n: int, some: Mapping[int, Passage]) -> list[Check]:
        """Whether the loaded index has ``n`` rows, and ``some`` of them are of these passages."""
        ...
