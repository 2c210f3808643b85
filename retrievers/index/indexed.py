"""The base class of retrievers with an index: building, opening, verifying, batched searching.

A retriever is this class with an ``Engine``, which builds, loads and searches an index of texts. The rows of
an index are passages sorted by id, so that every engine breaks ties by id when it breaks them by row.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import shlex
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import msgspec

from evalkit.errors import IndexMismatch, UsageError, did_you_mean
from evalkit.protocols import Check, Retriever
from evalkit.types import Passage, Progress

from ..corpus.corpus import Corpus
from ..corpus.passages import Passages, Rows, damaged
from .batching import Batcher
from .build import build_index
from .engine import Engine, Options
from .manifest import FORMAT, MANIFEST, CorpusFacts, Manifest, read_manifest
from .rerank import Reranking
from .topk import Hits
from .verify import check_corpus, check_count, check_files

MAX_BATCH = 256  # searches answered at once
CHECKED = 8  # passages that ``verify`` checks

T = TypeVar("T")


class IndexedRetriever(Retriever):
    """A ``Retriever`` over an index of a corpus, kept in the folder ``directory``.

    The constructor is cheap: ``prepare`` or the first ``search`` builds or loads the index. Raises
    ``IndexMismatch`` if the folder has an index of another corpus or with other options, ``CorpusError`` for
    a missing corpus, ``UsageError`` for an unknown option.
    """

    kind: ClassVar[str]
    options_type: ClassVar[type[Options]] = Options
    search_options = frozenset({"rerank", "mmr", "depth"})
    index_format = FORMAT
    packages: ClassVar[tuple[str, ...]]

    def __init__(self, corpus: Path, directory: Path, *, progress: Progress, **options: Any) -> None:
        self.options = self._read_options(options)
        self.corpus = Corpus(corpus, progress, self.options.fields)
        self.directory = directory
        self.progress = progress
        self.stop = threading.Event()
        self._rows: Rows | None = None  # once the index is loaded
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{self.kind}-search")
        self._batcher = Batcher(partial(self._in_thread, self._answer), MAX_BATCH)
        if (directory / MANIFEST).exists():
            with contextlib.suppress(ImportError):  # who only gets documents needs no encoder
                self._check()

    @abstractmethod
    def _make_engine(self) -> Engine:
        """Return the engine for the options."""

    @cached_property
    def _reranking(self) -> Reranking:
        options = self.options
        return Reranking(options.rerank, options.mmr, options.mmr_encoder, self.progress, self.stop)

    def _search_facts(self) -> dict[str, Any]:
        """Return the search options that differ from their defaults, and the identities of their models."""
        defaults = msgspec.to_builtins(self.options_type())
        changed = {n: v for n, v in msgspec.to_builtins(self.options).items() if v != defaults[n]}
        options = {name: value for name, value in changed.items() if name in self.search_options}
        return options | ({"models": self._reranking.identity()} if self._reranking else {})

    @cached_property
    def _engine(self) -> Engine:
        return self._make_engine()

    @classmethod
    def open(cls, directory: Path, *, progress: Progress, **options: Any) -> Self:
        """Return the retriever of an index on disk; its manifest names the corpus and the options.

        ``options`` are those of the search. Raises ``SetupError`` if there is no index, ``IndexMismatch`` if
        the index is of another kind or its corpus has changed.
        """
        manifest = read_manifest(directory)
        if manifest.kind != cls.kind:
            raise IndexMismatch(f"{directory} is a {manifest.kind} index, not a {cls.kind} one")
        return cls(Path(manifest.corpus.path), directory, progress=progress, **manifest.options | options)

    async def search(self, query: str, k: int) -> list[Passage]:
        """Return the ``k`` best passages, best first, ties by id; fewer if the corpus has no more.

        BM25 returns only passages that share a word with the query. A blank query finds nothing. Concurrent
        calls are answered in batches. Raises ``UsageError`` for ``k`` below 1.
        """
        if k < 1:
            raise UsageError(f"search needs k ≥ 1, not {k}")
        return await self._batcher.ask((query, k)) if query.strip() else []

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return whole documents by id, in the order of ``ids``, without an index. Raises ``CorpusError``."""
        return await asyncio.to_thread(self.corpus.get, ids)

    async def unknown(self, documents: Sequence[str]) -> list[str]:
        """Return the ids of ``documents`` that the corpus does not have, without an index."""
        return await asyncio.to_thread(self.corpus.unknown, documents)

    async def prepare(self) -> None:
        """Build or load the index now."""
        await self._in_thread(self._ready)

    async def verify(self) -> list[Check]:
        """Check that the index on disk is complete and of this corpus; a few passages are embedded anew.

        Raises ``SetupError`` if there is no index, or if it cannot be loaded.
        """
        return await self._in_thread(self._verify)

    async def close(self) -> None:
        """Stop a build in progress, keep its embeddings, and end the search thread."""
        self.stop.set()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def describe(self) -> dict[str, Any]:
        """Return the facts of the index (kind, corpus, options, engine, versions, counts) and of the search.

        Empty until the index has been loaded, by ``prepare`` or the first ``search``.
        """
        if self._rows is None:
            return {}
        facts: dict[str, Any] = msgspec.to_builtins(read_manifest(self.directory))
        return facts | ({"search": search} if (search := self._search_facts()) else {})

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in the search thread. Cancelling the caller also ends an embedding in progress."""
        self.stop.clear()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)
        except asyncio.CancelledError:
            self.stop.set()
            raise

    def _verify(self) -> list[Check]:
        manifest = read_manifest(self.directory)
        files = check_files(self.directory, manifest.files)
        if files.ok is False:
            return [files]
        corpus = check_corpus(self.corpus.read_fingerprint(), manifest.corpus.fingerprint)
        if corpus.ok is False:
            return [files, corpus]
        n = len(self._ready())
        rows = sorted({number * (n - 1) // (CHECKED - 1) for number in range(CHECKED)})
        passages = self._fetch((rows, [0.0] * len(rows)))
        return [
            files,
            corpus,
            check_count("documents", len(self.corpus), manifest.n_documents),
            check_count("passages", n, manifest.n_passages),
            *self._engine.check(n, dict(zip(rows, passages, strict=True))),
            *(Check("note", None, note) for note in manifest.notes),
        ]

    def _answer(self, calls: list[tuple[str, int]]) -> list[list[Passage]]:
        """Answer a batch. Calls are grouped by ``k``, so that no answer depends on the other calls."""
        self._ready()
        answers: list[list[Passage]] = [[] for _ in calls]
        order = sorted(range(len(calls)), key=lambda i: calls[i][1])
        for k, group in groupby(order, key=lambda i: calls[i][1]):
            indices = list(group)
            depth = max(k, self.options.depth) if self._reranking else k
            rankings = self._engine.search([calls[i][0] for i in indices], depth)
            for i, hits in zip(indices, rankings, strict=True):
                passages = self._fetch(hits)
                answers[i] = self._reranking(calls[i][0], passages, k) if self._reranking else passages
        return answers

    def _fetch(self, hits: Hits) -> list[Passage]:
        """Return the passages of a ranking. Texts are not stored: a chunk is cut again from its document."""
        rows, scores = self._ready(), hits[1]
        ids, offsets = zip(*map(rows.find, hits[0]), strict=True) if hits[0] else ((), ())
        names = [id.rpartition("#")[0] if self.options.chunked else id for id in ids]
        places = list(dict.fromkeys(zip(names, offsets, strict=True)))
        documents = {d.id: d for d in self.corpus.read(places)}
        passages = []
        for name, id, score in zip(names, ids, scores, strict=True):
            passage = next((p for p in self._cut(documents[name]) if p.id == id), None)
            if passage is None:
                raise damaged(self.directory, f"its corpus has no passage {id!r}")
            passages.append(msgspec.structs.replace(passage, score=score))
        return passages

    @cached_property
    def _cut(self) -> Callable[[Passage], list[Passage]]:
        return self.options.cutter()

    def _ready(self) -> Rows:
        """Return the rows of the index; the first call loads the index, or builds it."""
        if self._rows is None:
            if not (self.directory / MANIFEST).exists():
                self._build()
            self._check()
            n, rows = self._engine.load(self.directory), Rows(self.directory)
            if n != len(rows):
                raise damaged(self.directory, f"{n:,} rows, but {len(rows):,} ids")
            self._rows = rows
        return self._rows

    def _build(self) -> None:
        engine = self._engine  # first, so that a missing encoder fails before the corpus is read
        manifest = self._manifest()
        passages = partial(
            Passages,
            self.corpus,
            self._cut,
            self.directory,
            self.progress,
            deduplicate=self.options.deduplicate,
        )
        build_index(engine, self.corpus, passages, manifest, self.directory)

    def _manifest(self) -> Manifest:
        """Return the manifest of an index built now."""
        return Manifest(
            kind=self.kind,
            corpus=CorpusFacts(
                self.corpus.location, self.corpus.fingerprint, self.corpus.layout.name, self.corpus.stamp
            ),
            options={
                name: value
                for name, value in msgspec.to_builtins(self.options).items()
                if name not in self.search_options
            },
            tokenizer=self.options.tokenizer_hash(),
            engine=self._engine.identity(),
            versions={name: importlib.metadata.version(name) for name in self.packages},
        )

    def _check(self) -> None:
        """Raise ``IndexMismatch`` for another index. The corpus is read only if its files changed since."""
        manifest, stamp = read_manifest(self.directory), self.corpus.stamp
        if manifest.corpus.stamp == stamp:
            self.corpus.fingerprint = manifest.corpus.fingerprint
        if differences := manifest.differences(self._manifest()):
            raise IndexMismatch(
                f"{self.directory} holds another index: {'; '.join(differences)}. To build the index "
                f"anew, delete that folder, or choose another one: evalkit index build "
                f"{shlex.quote(str(self.corpus.path))} "
                f"--retriever {self.kind} --out FOLDER"
            )
        if manifest.corpus.stamp != stamp:
            corpus = msgspec.structs.replace(manifest.corpus, stamp=stamp)
            with contextlib.suppress(OSError):  # a read-only index compares fingerprints again the next time
                msgspec.structs.replace(manifest, corpus=corpus).write(self.directory / MANIFEST)

    @classmethod
    def _read_options(cls, options: dict[str, Any]) -> Options:
        known = cls.options_type.__struct_fields__
        for name in options:
            if name not in known:
                raise UsageError(
                    f"a {cls.kind} retriever has no option {name!r}.{did_you_mean(name, known)} "
                    f"Known: {', '.join(known)}."
                )
        try:
            return msgspec.convert(options, cls.options_type, strict=False)
        except msgspec.ValidationError as error:
            raise UsageError(f"options of the {cls.kind} retriever: {error}") from None
