"""An index of vectors on disk: written shard by shard, searched as one, its recall measured on the way.

Vectors come in blocks. One shard is in memory at a time, a file of its own; a search maps all of them from
disk. So an index may be larger than memory, and n × dimension floats are never held twice.
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

from ..encoding.recipes import Similarity
from ..encoding.vector_cache import Vectors
from .faiss_factory import Plan, Rows, plan, reason, train, train_rows
from .topk import Hits, in_order

SHARD_BYTES = 2**30  # of vectors in one file
RECALL_AT, SAMPLE, ENOUGH = 10, 200, 0.95
_TRIED = {"nprobe": (1, 2, 4, 8, 16, 32, 64, 128, 256), "efSearch": (16, 32, 64, 128, 256, 512)}


class Source(Protocol):
    """Where the vectors of an index come from."""

    n: int
    similarity: Similarity

    def take(self, rows: Rows) -> Vectors:
        """The vectors of some rows."""
        ...

    def blocks(self) -> Iterator[Vectors]:
        """All vectors, in order, a block at a time."""
        ...


def build(
    name: str, source: Source, folder: Path, progress: Progress, shard_bytes: int = SHARD_BYTES
) -> dict[str, Any]:
    """Write the index ``name`` (see ``faiss_factory.plan``) into ``folder``.

    Returns what it is, its recall, and how long each stage took.
    """
    start = time.perf_counter()
    rows = sample_rows(source.n)
    queries = source.take(rows)
    chosen = plan(name, source.n, queries.shape[1], source.similarity)
    trained = train(chosen, lambda: source.take(train_rows(chosen)))
    ends = [time.perf_counter()]
    truth = GroundTruth(queries, chosen.metric, RECALL_AT + 1)
    with progress.bar("Indexing", source.n) as bar:
        first = 0
        for block in _written(trained, source.blocks(), folder, shard_bytes):
            truth.add(block, first)
            first += len(block)
            bar.advance(len(block))
    ends.append(time.perf_counter())
    shards = Shards(folder)
    facts = {"family": chosen.family, "factory": chosen.factory, "bytes": shards.bytes}
    facts |= measure(shards, chosen, queries, rows, truth.rows)
    ends.append(time.perf_counter())
    spent = [round(end - begin, 1) for begin, end in pairwise([start, *ends])]
    return facts | {"seconds": dict(zip(("train", "write", "recall"), spent, strict=True))}


def sample_rows(n: int) -> Rows:
    """The passages whose nearest neighbours are looked for to measure recall."""
    return np.sort(np.random.default_rng(0).choice(n, min(n, SAMPLE), replace=False)).astype(np.int64)


class GroundTruth:
    """The exact nearest neighbours of some vectors, found block by block."""

    def __init__(self, queries: Vectors, metric: int, k: int) -> None:
        self._queries, self._metric, self._k = queries, metric, k
        self._scores = np.zeros((len(queries), 0), np.float32)
        self.rows = np.zeros((len(queries), 0), np.int64)

    def add(self, block: Vectors, first: int) -> None:
        """Take the vectors of rows ``first`` … into account."""
        import faiss

        scores, rows = faiss.knn(self._queries, block, min(self._k, len(block)), self._metric)
        scores = np.hstack([self._scores, scores])
        rows = np.hstack([self.rows, rows + first])
        order = np.argsort(scores if self._metric == faiss.METRIC_L2 else -scores, axis=1, kind="stable")
        self._scores = np.take_along_axis(scores, order[:, : self._k], 1)
        self.rows = np.take_along_axis(rows, order[:, : self._k], 1)


def _written(trained: Any, blocks: Iterable[Vectors], folder: Path, shard_bytes: int) -> Iterator[Vectors]:
    """Write the blocks into files of about ``shard_bytes`` of vectors; yields each block that went in."""
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
    """The files of an index, mapped from disk: what a search does not touch is not read. Or all in memory."""

    def __init__(self, folder: Path, mapped: bool = True) -> None:
        import faiss

        files = sorted(folder.glob("vectors-*.faiss"))
        if not files:
            raise SetupError(
                f"{folder}: its vectors are missing. Delete the folder and build the index again."
            )
        self.bytes = sum(file.stat().st_size for file in files)
        try:
            how = faiss.IO_FLAG_MMAP_IFC if mapped else 0
            self._parts = [faiss.read_index(str(file), how) for file in files]
        except RuntimeError as error:
            raise SetupError(
                f"{folder}: an index file is damaged ({reason(error)}): delete the folder and build it again"
            ) from None
        self.index: Any = joined(self._parts)

    def vectors(self, rows: Sequence[int]) -> Vectors | None:
        """The stored vectors of some rows; None where the index keeps codes of parts of them."""
        import faiss

        if not all(isinstance(part, faiss.IndexFlat | faiss.IndexScalarQuantizer) for part in self._parts):
            return None
        found = []
        for row in rows:
            for part in self._parts:
                if row < part.ntotal:
                    found.append(part.reconstruct(row))
                    break
                row -= part.ntotal
        return np.stack(found)

    def set_effort(self, name: str, value: int) -> None:
        """Set ``nprobe`` or ``efSearch`` of every part."""
        import faiss

        for part in self._parts:
            faiss.ParameterSpace().set_index_parameter(part, name, value)


def joined(parts: Sequence[Any]) -> Any:
    """One index of several that were trained as one, their rows counted on. It refers to them.

    Which lists are near is found once for all parts, not in each: at 10⁶ vectors that is half of a search.
    """
    import faiss

    first = parts[0]
    if len(parts) == 1:
        return first
    made: Any = faiss.IndexShards
    if isinstance(first, faiss.IndexPreTransform):
        made = faiss.IndexPreTransform(joined([faiss.downcast_index(part.index) for part in parts]))
        chain: Any = first.chain
        for number in reversed(range(chain.size())):
            made.prepend_transform(chain.at(number))
        return made
    if isinstance(first, faiss.IndexIVF):
        made = faiss.IndexShardsIVF(first.quantizer, first.nlist, False, True)
    else:
        made = made(first.d, False, True)  # one after the other, rows counted on
    for part in parts:
        made.add_shard(part)
    return made


class Index:
    """An index in a folder, opened for searching. ``facts`` are those that ``build`` returned; ``efforts``
    overrule the ``nprobe`` or ``efSearch`` in them."""

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
        self._unit = np.float32(1e6 if similarity == "cosine" else 1e4)  # what float32 is good for
        self._scale = -self._unit if similarity == "l2" else self._unit

    def nearest(self, vectors: Vectors, k: int) -> list[Hits]:
        """The ``k`` nearest rows and their scores for each vector, ties by row.

        Equal texts have equal vectors: an exact index is searched on until the last tie is whole.
        """
        n = min(k + 8 if self._exact else k, self._index.ntotal)
        while True:
            scores, rows = self._index.search(vectors, n)
            if np.count_nonzero(rows[:, -1] < 0):  # an approximate index found less
                scores[rows < 0] = -np.inf / self._scale
            scores *= self._scale
            np.rint(scores, out=scores)
            scores /= self._unit
            whole = n == self._index.ntotal or not self._exact
            if whole or bool((scores[:, k - 1] > scores[:, -1]).all()):
                return in_order(scores, rows, k)
            n = min(2 * n, self._index.ntotal)


def measure(shards: Shards, plan: Plan, queries: Vectors, rows: Rows, truth: Rows) -> dict[str, Any]:
    """Recall at 10 against exact search, each query's own row left out, and the least effort that is enough.

    Enough is 0.95, or all but 0.01 of what the greatest effort gives where that is less.
    """
    tried = {0: _recall(shards, queries, rows, truth)} if not plan.effort else {}
    for value in _TRIED.get(plan.effort, ()):
        shards.set_effort(plan.effort, value)
        tried[value] = _recall(shards, queries, rows, truth)
        if tried[value] >= ENOUGH:
            break
    enough = min(ENOUGH, max(tried.values()) - 0.01)
    value = next(value for value, recall in tried.items() if recall >= enough)
    facts: dict[str, Any] = {f"recall@{RECALL_AT}": round(tried[value], 4), "recall_queries": len(queries)}
    return facts | ({plan.effort: value} if plan.effort else {})


def _recall(shards: Shards, queries: Vectors, rows: Rows, truth: Rows) -> float:
    _, found = shards.index.search(queries, truth.shape[1])
    hits = wanted = 0
    for own, seen, right in zip(rows, found, truth, strict=True):
        expected = [row for row in right if row != own][:RECALL_AT]
        hits += len(set(expected) & set([row for row in seen if row != own][:RECALL_AT]))
        wanted += len(expected)
    return hits / wanted if wanted else 1.0


def check_fits(folder: Path, bytes: int, family: str, memory: int) -> None:
    """Refuse an index that every search reads whole from disk, for want of memory. Raises ``SetupError``."""
    if family in ("flat", "sq8") and bytes > memory:
        raise SetupError(
            f"{folder}: this {family} index of {bytes / 2**30:.1f} GiB is larger than the memory of "
            f"{memory / 2**30:.1f} GiB, and each search reads all of it. Build one that reads a part: "
            "index=ivf, or index=ivfpq, which is a sixteenth as large"
        )


def memory_bytes() -> int:
    """Return the memory of this machine, in bytes."""
    return int(psutil.virtual_memory().total)
