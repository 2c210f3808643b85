"""The options of every index, and the interface of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from evalkit.protocols import Check
from evalkit.types import Passage

from ..corpus.chunking import Chunking
from ..corpus.jsonl import FIELDS, Fields
from ..encoding.recipes import DEFAULT_MODEL
from .topk import Hits


class Options(Chunking, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of every index, besides those of ``Chunking``.

    ``title_field`` and ``text_field`` name the columns of the corpus, where they are not ``title`` and
    ``text``. ``deduplicate``: of passages with the same title and text, keep the first by id. ``rerank``,
    ``mmr`` and ``depth`` (the number of candidates) are for the stages after the first search
    (``rerank.py``).
    """

    title_field: str | None = None
    text_field: str | None = None
    deduplicate: bool = False
    rerank: str | None = None
    mmr: float | None = None
    depth: int = 100

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) == "":
                raise ValueError(f"{name} is empty")
        super().__post_init__()
        if self.depth < 1 or not 0 <= (self.mmr or 0) <= 1:
            raise ValueError("depth must be at least 1 and mmr between 0 (variety) and 1 (relevance)")

    @property
    def fields(self) -> Fields:
        """The columns of the corpus."""
        return Fields(self.title_field or FIELDS.title, self.text_field or FIELDS.text)

    @property
    def mmr_encoder(self) -> str:
        """The encoder that compares passages with each other, for MMR."""
        return DEFAULT_MODEL


class Engine(Protocol):
    """One way to search texts; results are row numbers."""

    def identity(self) -> dict[str, Any]:
        """Return all that determines the results besides the texts, for the manifest."""
        ...

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Write an index of titles and texts into ``folder``. Return facts for the manifest."""
        ...

    def load(self, folder: Path) -> int:
        """Read the index and return its number of rows. Raises ``SetupError`` if it is missing or damaged."""
        ...

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """Return the ``k`` best rows for each query, ties by row; fewer if no more match."""
        ...

    def check(self, n: int, sample: Mapping[int, Passage]) -> list[Check]:
        """Check that the loaded index has ``n`` rows, and that a sample of rows is of these passages."""
        ...
