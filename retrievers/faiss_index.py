"""Dense retrieval: FAISS over sentence embeddings, exact, by inner product of normalized vectors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from evalkit.types import Passage, Progress

from .base import Engine, Hits, IndexedRetriever, Options
from .embedder import Embedder
from .encoders import DEFAULT_MODEL
from .local_model import Backend
from .ranking import best

_FILE = "vectors.faiss"


class DenseOptions(Options, frozen=True, kw_only=True):
    """``encoder`` and ``backend``, as ``Embedder`` takes them."""

    encoder: str = DEFAULT_MODEL
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if Path(self.encoder).is_dir():  # the manifest may be read from another working directory
            msgspec.structs.force_setattr(self, "encoder", str(Path(self.encoder).resolve()))


class DenseEngine:
    """A flat FAISS index. Scores are cosine similarities."""

    def __init__(self, options: DenseOptions, progress: Progress, stop: threading.Event) -> None:
        self._embedder = Embedder(options.encoder, backend=options.backend, progress=progress, stop=stop)
        self._index: Any = None

    def identity(self) -> dict[str, Any]:
        """The encoder's weights and where it cuts texts."""
        return {"encoder": self._embedder.identity, "index": "flat"}

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Embed and write."""
        import faiss

        vectors = self._embedder.embed([(p.title, p.text) for p in passages], label="Embedding")
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        (folder / _FILE).write_bytes(faiss.serialize_index(index).data)
        return {"encoder": self._embedder.facts}

    def load(self, folder: Path) -> None:
        """Read the vectors into memory."""
        import faiss

        self._index = faiss.read_index(str(folder / _FILE))

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """The nearest rows. Equal texts have equal vectors: looks on until the last tie is whole."""
        vectors, total = self._embedder.embed_queries(queries), self._index.ntotal
        n = min(k + 8, total)
        while True:
            scores, rows = self._index.search(vectors, n)
            scores = np.round(scores, 6)  # what float32 is good for; the rest differs between batches
            if n == total or bool((scores[:, k - 1] > scores[:, -1]).all()):
                return [best(s, k, r) for s, r in zip(scores, rows, strict=True)]
            n = min(2 * n, total)


class FaissRetriever(IndexedRetriever):
    """Options: ``encoder``, ``chunk_words``, ``overlap``."""

    kind = "faiss"
    options_type = DenseOptions
    packages = ("faiss-cpu", "sentence-transformers", "torch")

    def _make_engine(self) -> Engine:
        assert isinstance(self.options, DenseOptions)
        return DenseEngine(self.options, self.progress, self.stop)
