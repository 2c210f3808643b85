"""Dense and lexical retrieval together, by reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.types import Passage

from .base import Engine, Hits, IndexedRetriever
from .bm25 import K1, B, LexicalEngine
from .faiss_index import DenseEngine, DenseOptions
from .ranking import fuse

DEPTH = 100  # how far down both rankings are read, at least


class HybridOptions(DenseOptions, frozen=True, kw_only=True):
    """What both halves can be told: those of the dense one and of BM25."""

    k1: float = K1
    b: float = B


class FusionEngine:
    """Both engines in one folder: their files have different names."""

    def __init__(self, dense: Engine, lexical: Engine) -> None:
        self._dense, self._lexical = dense, lexical

    def identity(self) -> dict[str, Any]:
        """Both halves'."""
        return {"dense": self._dense.identity(), "lexical": self._lexical.identity()}

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Build both, the quick one first."""
        return self._lexical.build(passages, folder) | self._dense.build(passages, folder)

    def load(self, folder: Path) -> None:
        """Load both."""
        self._lexical.load(folder)
        self._dense.load(folder)

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """Fused rankings; the scores are sums of reciprocal ranks."""
        depth = max(k, DEPTH)
        both = zip(self._dense.search(queries, depth), self._lexical.search(queries, depth), strict=True)
        return [fuse([[row for row, _ in hits] for hits in pair], k) for pair in both]


class HybridRetriever(IndexedRetriever):
    """Options: those of ``FaissRetriever`` and ``BM25Retriever``."""

    kind = "hybrid"
    options_type = HybridOptions
    packages = ("faiss-cpu", "bm25s", "PyStemmer")

    def _make_engine(self) -> Engine:
        assert isinstance(self.options, HybridOptions)
        dense = DenseEngine(self.options, self.progress, self.stop)
        return FusionEngine(dense, LexicalEngine(self.options.k1, self.options.b))
