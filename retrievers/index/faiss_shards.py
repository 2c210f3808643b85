"""A FAISS index in shards on disk: built shard by shard, searched as one index, with measured recall.

A build reads vectors in blocks and holds one shard in memory; each shard is a file. A search maps all files
from disk. An index may therefore be larger than memory, and a build holds no second copy of all vectors.

Recall is that of the 10 nearest neighbours of a sample of passages, against an exact search. For an IVF or
HNSW index, the smallest search effort with sufficient recall becomes its default.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil

from evalkit.errors import SetupError
from evalkit.types import Progress

from ..corpus.passages import damaged
from ..encoding.recipes import Similarity
from ..encoding.vector_cache import Vectors
from .faiss_factory import Plan, Rows, plan, reason, train, train_rows
from .topk import Hits, in_order

SHARD_BYTES = 2**30  # of vectors in one file
RECALL_AT, SAMPLE, TARGET_RECALL = 10, 200, 0.95
_EFFORTS = {"nprobe": (1, 2, 4, 8, 16, 32, 64, 128, 256), "efSearch": (16, 32, 64, 128, 256, 512)}


class Source(Protocol):
    """The vectors that an index is built from."""

    n: int
    similarity: Similarity

    def take(self, rows: Rows) -> Vectors:
        """Return the vectors of ``rows``."""
        ...

    def blocks(self) -> Iterator[Vectors]:
        """Yield all vectors in order, in blocks."""
        ...


def build(
    name: str, source: Source, folder: Path, progress: Progress, shard_bytes: int = SHARD_BYTES
) -> dict[str, Any]:
    """Write the index ``name`` (see ``faiss_factory.plan``) into ``folder``.

    Return its family, factory string, size, recall, and the seconds of each stage.
    """
    start = time.perf_counter()
    rows = sample_rows(source.n)
    queries = source.take(rows)
    index_plan = plan(name, source.n, queries.shape[1], source.similarity)
    trained = train(index_plan, lambda: source.take(train_rows(index_plan)))
    ends = [time.perf_counter()]
    truth = GroundTruth(queries, index_plan.metric, RECALL_AT + 1)
    with progress.bar("Indexing", source.n) as bar:
        first = 0
        for block in _shard(trained, source.blocks(), folder, shard_bytes):
            truth.add(block, first)
            first += len(block)
            bar.advance(len(block))
    ends.append(time.perf_counter())
    shards = Shards(folder)
    facts = {"family": index_plan.family, "factory": index_plan.factory, "bytes": shards.bytes}
    facts |= measure(shards, index_plan, queries, rows, truth.rows)
    ends.append(time.perf_counter())
    seconds = [round(end - begin, 1) for begin, end in pairwise([start, *ends])]
    return facts | {"seconds": dict(zip(("train", "write", "recall"), seconds, strict=True))}


def sample_rows(n: int) -> Rows:
    """Return the rows of the passages that measure recall."""
    return np.sort(np.random.default_rng(0).choice(n, min(n, SAMPLE), replace=False)).astype(np.int64)


class GroundTruth:
    """The exact nearest neighbours of the query vectors, found block by block."""

    def __init__(self, queries: Vectors, metric: int, k: int) -> None:
        self._queries, self._metric, self._k = queries, metric, k
        self._scores = np.zeros((len(queries), 0), np.float32)
        self.rows = np.zeros((len(queries), 0), np.int64)

    def add(self, block: Vectors, first: int) -> None:
        """Add the vectors of the rows from ``first`` on."""
        import faiss

        scores, rows = faiss.knn(self._queries, block, min(self._k, len(block)), self._metric)
        scores = np.hstack([self._scores, scores])
        rows = np.hstack([self.rows, rows + first])
        order = np.argsort(scores if self._metric == faiss.METRIC_L2 else -scores, axis=1, kind="stable")
        self._scores = np.take_along_axis(scores, order[:, : self._k], 1)
        self.rows = np.take_along_axis(rows, order[:, : self._k], 1)


def _shard(trained: Any, blocks: Iterable[Vectors], folder: Path, shard_bytes: int) -> Iterator[Vectors]:
    """Write the blocks into files of about ``shard_bytes`` of vectors; yield each block once added."""
    import faiss

    index, number = faiss.clone_index(trained), 0
    for block in blocks:
        if index.ntotal * 4 * index.d >= shard_bytes:
            _write(index, folder, number)
            index, number = faiss.clone_index(trained), number + 1
        index.add(block)
        yield block
    _write(index, folder, number)


def _write(index: Any, folder: Path, number: int) -> None:
    import faiss

    try:
        faiss.write_index(index, str(folder / f"vectors-{number:05d}.faiss"))
    except RuntimeError as error:
        raise SetupError(f"{folder}: the index cannot be written: {reason(error)}") from error


class Shards:
    """The files of an index, mapped from disk (a search reads only what it uses) or read into memory."""

    def __init__(self, folder: Path, mapped: bool = True) -> None:
        import faiss

        files = sorted(folder.glob("vectors-*.faiss"))
        if not files:
            raise SetupError(
                f"{folder}: the vectors are missing. Delete the folder and build the index again."
            )
        self.bytes = sum(file.stat().st_size for file in files)
        try:
            flags = faiss.IO_FLAG_MMAP_IFC if mapped else 0
            self._parts = [faiss.read_index(str(file), flags) for file in files]
        except (RuntimeError, MemoryError) as error:
            raise damaged(folder, reason(error)) from None
        self.index: Any = joined(self._parts)

    def vectors(self, rows: Sequence[int]) -> Vectors | None:
        """Return the stored vectors of ``rows``; None if the index stores product codes instead."""
        import faiss

        if not all(isinstance(part, faiss.IndexFlat | faiss.IndexScalarQuantizer) for part in self._parts):
            return None
        vectors = []
        for row in rows:
            for part in self._parts:
                if row < part.ntotal:
                    vectors.append(part.reconstruct(row))
                    break
                row -= part.ntotal
        return np.stack(vectors)

    def set_effort(self, name: str, value: int) -> None:
        """Set ``nprobe`` or ``efSearch`` of every part."""
        import faiss

        for part in self._parts:
            faiss.ParameterSpace().set_index_parameter(part, name, value)


def joined(parts: Sequence[Any]) -> Any:
    """Return one index over shards with the same training, with consecutive row numbers.

    The result refers to the shards. Near lists are found once for all shards and not once for each: at 10⁶
    vectors that halves the time of a search.
    """
    import faiss

    first = parts[0]
    if len(parts) == 1:
        return first
    whole: Any = faiss.IndexShards
    if isinstance(first, faiss.IndexPreTransform):
        whole = faiss.IndexPreTransform(joined([faiss.downcast_index(part.index) for part in parts]))
        chain: Any = first.chain
        for number in reversed(range(chain.size())):
            whole.prepend_transform(chain.at(number))
        return whole
    if isinstance(first, faiss.IndexIVF):
        whole = faiss.IndexShardsIVF(first.quantizer, first.nlist, False, True)
    else:
        whole = whole(first.d, False, True)  # not in threads; consecutive row numbers
    for part in parts:
        whole.add_shard(part)
    return whole


class ShardedIndex:
    """An index in a folder, opened for search.

    ``facts`` are those that ``build`` returned; ``efforts`` replace their ``nprobe`` or ``efSearch``.
    """

    def __init__(
        self, folder: Path, facts: dict[str, Any], similarity: Similarity, **efforts: int | None
    ) -> None:
        self.shards = Shards(folder)
        check_fits(folder, self.shards.bytes, facts["family"], memory_bytes())
        for name in ("nprobe", "efSearch"):
            if name in facts:
                self.shards.set_effort(name, efforts.get(name) or facts[name])
        self._index = self.shards.index
        self._exact = facts["family"] in ("flat", "sq8")
        self._unit = np.float32(1e6 if similarity == "cosine" else 1e4)  # the precision of float32 scores
        self._scale = -self._unit if similarity == "l2" else self._unit

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """The dimension of the vectors."""
        return int(self._index.d)

    def nearest(self, vectors: Vectors, k: int) -> list[Hits]:
        """Return the ``k`` nearest rows and their scores for each vector, ties by row.

        Equal texts have equal vectors: an exact index is searched further until all ties of the last row are
        found.
        """
        n = min(k + 8 if self._exact else k, self._index.ntotal)
        while True:
            scores, rows = self._index.search(vectors, n)
            if np.count_nonzero(rows[:, -1] < 0):  # an approximate index found fewer rows
                scores[rows < 0] = -np.inf / self._scale
            scores *= self._scale
            np.rint(scores, out=scores)
            scores /= self._unit
            is_complete = n == self._index.ntotal or not self._exact
            if is_complete or bool((scores[:, k - 1] > scores[:, -1]).all()):
                return in_order(scores, rows, k)
            n = min(2 * n, self._index.ntotal)


def measure(shards: Shards, plan: Plan, queries: Vectors, rows: Rows, truth: Rows) -> dict[str, Any]:
    """Return recall at 10 against exact search (without each query's own row) and the effort that it needs.

    The effort is the smallest with a recall of 0.95; if none has that, the smallest within 0.01 of the best.
    """
    recalls = {0: _recall(shards, queries, rows, truth)} if not plan.effort else {}
    for value in _EFFORTS.get(plan.effort, ()):
        shards.set_effort(plan.effort, value)
        recalls[value] = _recall(shards, queries, rows, truth)
        if recalls[value] >= TARGET_RECALL:
            break
    sufficient = min(TARGET_RECALL, max(recalls.values()) - 0.01)
    value = next(value for value, recall in recalls.items() if recall >= sufficient)
    facts: dict[str, Any] = {f"recall@{RECALL_AT}": round(recalls[value], 4), "recall_queries": len(queries)}
    return facts | ({plan.effort: value} if plan.effort else {})


def _recall(shards: Shards, queries: Vectors, rows: Rows, truth: Rows) -> float:
    _, found = shards.index.search(queries, truth.shape[1])
    hits = total = 0
    for own_row, found_rows, true_rows in zip(rows, found, truth, strict=True):
        expected = [row for row in true_rows if row != own_row][:RECALL_AT]
        hits += len(set(expected) & set([row for row in found_rows if row != own_row][:RECALL_AT]))
        total += len(expected)
    return hits / total if total else 1.0


def check_fits(folder: Path, bytes: int, family: str, memory: int) -> None:
    """Raise ``SetupError`` for an exhaustive index that is larger than the memory."""
    if family in ("flat", "sq8") and bytes > memory:
        raise SetupError(
            f"{folder}: this {family} index of {bytes / 2**30:.1f} GiB is larger than the memory of "
            f"{memory / 2**30:.1f} GiB, and each search reads all of it. Build one that reads a part: "
            "index=ivf, or index=ivfpq, which is a sixteenth as large"
        )


def memory_bytes() -> int:
    """Return the memory of this machine, in bytes."""
    return int(psutil.virtual_memory().total)
