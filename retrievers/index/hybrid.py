"""Dense and lexical retrieval together, by reciprocal rank fusion or weighted scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from evalkit.protocols import Check
from evalkit.rag.fusion import fuse
from evalkit.types import Passage

from ..corpus.passages import damaged
from .bm25 import K1, B, LexicalEngine, check_bm25
from .dense import DenseEngine, DenseOptions, FaissRetriever
from .engine import Engine
from .indexed import IndexedRetriever
from .topk import Hits, blend


class HybridOptions(DenseOptions, frozen=True, kw_only=True):
    """Options of both engines and of their fusion.

    ``fusion`` is ``rrf`` (reciprocal rank fusion with the constant ``rrf_k``; MedRAG's is 100) or
    ``weighted`` (min-max scaled scores; the dense ones have ``dense_weight``). Both rankings are read down to
    ``depth``.
    """

    k1: float = K1
    b: float = B
    fusion: Literal["rrf", "weighted"] = "rrf"
    rrf_k: int = 60
    dense_weight: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bm25(self.k1, self.b)
        if self.rrf_k < 1 or not 0 <= self.dense_weight <= 1:
            raise ValueError("rrf_k must be at least 1 and dense_weight between 0 and 1")


class FusionEngine:
    """Both engines in one folder; their files have different names."""

    def __init__(self, dense: Engine, lexical: Engine, options: HybridOptions) -> None:
        self._dense, self._lexical, self._options = dense, lexical, options

    def identity(self) -> dict[str, Any]:
        """Return the identities of both engines."""
        return {"dense": self._dense.identity(), "lexical": self._lexical.identity()}

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Build both indexes, the faster one first."""
        return self._lexical.build(passages, folder) | self._dense.build(passages, folder)

    def load(self, folder: Path) -> int:
        """Load both indexes."""
        lexical, dense = self._lexical.load(folder), self._dense.load(folder)
        if lexical != dense:
            raise damaged(folder, f"BM25 has {lexical:,} rows, FAISS {dense:,}")
        return dense

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """Return fused rankings; scores are sums of reciprocal ranks, or of weighted scores."""
        depth, options = max(k, self._options.depth), self._options
        both = zip(self._dense.search(queries, depth), self._lexical.search(queries, depth), strict=True)
        if options.fusion == "weighted":
            weights = (options.dense_weight, 1 - options.dense_weight)
            return [blend(pair, weights, k) for pair in both]
        return [fuse([rows for rows, _ in pair], k, options.rrf_k) for pair in both]

    def check(self, n: int, sample: Mapping[int, Passage]) -> list[Check]:
        """Return the checks of both engines."""
        return self._dense.check(n, sample) + self._lexical.check(n, sample)


class HybridRetriever(IndexedRetriever):
    """Options: ``fusion``, ``rrf_k``, ``dense_weight`` and those of both engines."""

    kind = "hybrid"
    options_type = HybridOptions
    search_options = FaissRetriever.search_options | {"fusion", "rrf_k", "dense_weight"}
    packages = ("faiss-cpu", "bm25s", "PyStemmer")

    def _make_engine(self) -> Engine:
        assert isinstance(self.options, HybridOptions)
        dense = DenseEngine(self.options, self.progress, self.stop)
        return FusionEngine(dense, LexicalEngine(self.options.k1, self.options.b), self.options)
