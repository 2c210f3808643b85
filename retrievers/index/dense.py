"""Dense retrieval: FAISS over embeddings, exact for small corpora, with measured recall for large ones."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from evalkit.errors import SetupError
from evalkit.protocols import Check
from evalkit.types import Passage, Progress

from ..corpus.passages import damaged
from ..encoding.embedder import Embedder
from ..encoding.local import Backend
from ..encoding.recipes import DEFAULT_MODEL, Document
from ..encoding.vector_cache import Vectors
from . import faiss_shards
from .engine import Engine, Options
from .faiss_factory import Rows, check_name
from .indexed import IndexedRetriever
from .manifest import read_manifest
from .topk import Hits
from .verify import check_count

_MIN_COSINE = 0.99  # of a text's vectors on two machines, or after scalar quantization
_BLOCK = 16_384  # vectors in memory at once while an index is built


class DenseOptions(Options, frozen=True, kw_only=True):
    """Options of a dense index, besides those of every index.

    ``encoder`` and ``backend`` are for ``Embedder``, ``index`` is for ``faiss_factory.plan``. ``nprobe`` and
    ``ef_search`` replace the search effort that was measured for an IVF or HNSW index.
    """

    encoder: str = DEFAULT_MODEL
    backend: Backend = "auto"
    index: str = "auto"
    nprobe: int | None = None
    ef_search: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        name, at, place = self.encoder.rpartition("@")
        if Path(place).is_dir():  # valid in any working directory
            msgspec.structs.force_setattr(self, "encoder", f"{name}{at}{Path(place).resolve()}")
        if any(effort is not None and effort < 1 for effort in (self.nprobe, self.ef_search)):
            raise ValueError("nprobe and ef_search must be at least 1")

    @property
    def mmr_encoder(self) -> str:
        """The encoder of the index."""
        return self.encoder


class Documents(Sequence[Document]):
    """Title and text of all passages, or of ``rows``, read when needed."""

    def __init__(self, passages: Sequence[Passage], rows: Rows | None = None) -> None:
        self._passages, self._rows = passages, np.arange(len(passages)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: Any) -> Any:
        """Return one document; slices are not supported."""
        passage = self._passages[int(self._rows[number])]
        return passage.title, passage.text


class EmbeddingSource:
    """The embeddings of passages as the source of an index: encoded once, then read in blocks."""

    def __init__(self, embedder: Embedder, passages: Sequence[Passage], stop: threading.Event) -> None:
        self._embedder, self._passages, self._stop = embedder, passages, stop
        self.n, self.similarity = len(passages), embedder.recipe.similarity
        documents = Documents(passages)
        embedder.fill(documents, label="Embedding")

    def take(self, rows: Rows) -> Vectors:
        """Return the vectors of ``rows``."""
        return self._embedder.embed(Documents(self._passages, rows))

    def blocks(self) -> Iterator[Vectors]:
        """Yield all vectors in order. Raises ``SetupError`` if stopped."""
        for block in self._embedder.embed_blocks(Documents(self._passages), _BLOCK):
            if self._stop.is_set():
                raise SetupError("the build was interrupted; the same command continues from the embeddings")
            yield block


class DenseEngine:
    """A FAISS index of embeddings. Scores are inner products, or negative squared distances for l2."""

    def __init__(
        self,
        options: DenseOptions,
        progress: Progress,
        stop: threading.Event,
        shard_bytes: int = faiss_shards.SHARD_BYTES,
    ) -> None:
        self._options, self._progress, self._stop = options, progress, stop
        self._shard_bytes = shard_bytes
        self._embedder = Embedder(options.encoder, backend=options.backend, progress=progress, stop=stop)
        check_name(options.index, self._embedder.dimension)
        self._index: faiss_shards.ShardedIndex | None = None

    def identity(self) -> dict[str, Any]:
        """Return the identity of the encoder, and the index option."""
        return {"encoder": self._embedder.identity, "index": self._options.index}

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Embed and write. Return facts of the encoder, and of the index with its recall."""
        source = EmbeddingSource(self._embedder, passages, self._stop)
        facts = faiss_shards.build(self._options.index, source, folder, self._progress, self._shard_bytes)
        cut = self._embedder.count_cut(Documents(passages))
        return {"encoder": self._embedder.facts | cut, "index": facts}

    def load(self, folder: Path) -> int:
        """Map the index into memory. Raises ``SetupError`` if the index is missing, damaged or too large."""
        self._folder = folder
        try:
            self._index = faiss_shards.ShardedIndex(
                folder,
                read_manifest(folder).facts["index"],
                self._embedder.recipe.similarity,
                nprobe=self._options.nprobe,
                efSearch=self._options.ef_search,
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise damaged(folder, f"its manifest's facts: {error}") from None
        return self._index.n

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """Return the nearest rows."""
        assert self._index is not None, "load comes first"
        vectors = self._embedder.embed_queries(queries)
        if vectors.shape[1] != self._index.dimension:
            dimensions = f"{self._index.dimension} dimensions, not {vectors.shape[1]} as the encoder's"
            raise damaged(self._folder, f"its vectors have {dimensions}")
        return self._index.nearest(vectors, k)

    def check(self, n: int, sample: Mapping[int, Passage]) -> list[Check]:
        """Check the number of rows, and the smallest cosine between stored and new vectors of the sample."""
        shards = faiss_shards.Shards(self._folder)
        rows = check_count("rows of FAISS", shards.index.ntotal, n)
        stored = shards.vectors(list(sample))
        if stored is None:
            return [rows, Check("vectors", None, "not compared: this kind of index stores only codes")]
        with tempfile.TemporaryDirectory() as empty:  # an empty embedding cache
            fresh = Embedder(self._options.encoder, backend=self._options.backend, cache=Path(empty))
            vectors = fresh.embed([(p.title, p.text) for p in sample.values()])
        norms = np.linalg.norm(stored, axis=1) * np.linalg.norm(vectors, axis=1)
        least = float(((stored * vectors).sum(axis=1) / norms).min())
        found = f"{len(sample)} passages embedded anew: cosine with the stored vectors at least {least:.4f}"
        return [rows, Check("vectors", least >= _MIN_COSINE, found)]


class FaissRetriever(IndexedRetriever):
    """Options: ``encoder``, ``backend``, ``index``, ``nprobe``, ``ef_search`` and those of every index."""

    kind = "faiss"
    options_type = DenseOptions
    search_options = IndexedRetriever.search_options | {"nprobe", "ef_search"}
    packages = ("faiss-cpu",)

    def _make_engine(self) -> Engine:
        assert isinstance(self.options, DenseOptions)
        return DenseEngine(self.options, self.progress, self.stop)
