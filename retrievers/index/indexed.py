"""What all retrievers share: opening and building an index, its manifest, and the batching of searches.

A retriever is this class with an ``Engine``: something that can build, load and search an index over texts.
Rows of an index are passages sorted by id, so that "ties are broken by id" means "by row" to every engine.
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
from ..corpus.passages import Passages, Rows
from .batching import Batcher
from .build import build_index
from .engine import Engine, Options
from .manifest import MANIFEST, CorpusFacts, Manifest, read_manifest
from .rerank import Reranking
from .topk import Hits
from .verify import check_corpus, check_count, check_files

MAX_BATCH = 256  # searches answered at once
CHECKED = 8  # passages that verify looks at

T = TypeVar("T")


class IndexedRetriever(Retriever):
    """A ``Retriever`` over the index of a corpus file, kept in a folder.

    Constructing is cheap. If ``directory`` holds an index, it must have been built from this corpus in this
    way: else ``IndexMismatch``. The index is built or loaded by ``prepare`` or the first ``search``. Raises
    ``CorpusError`` where there is no such file and ``UsageError`` for an unknown option.
    """

    kind: ClassVar[str]
    options_type: ClassVar[type[Options]] = Options
    search_options = frozenset({"rerank", "mmr", "depth"})
    packages: ClassVar[tuple[str, ...]]

    def __init__(self, corpus: Path, directory: Path, *, progress: Progress, **options: Any) -> None:
        self.options = self._read_options(options)
        self.corpus = Corpus(corpus, progress)
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
        """The engine that these options ask for."""

    @cached_property
    def _second(self) -> Reranking:
        options = self.options
        return Reranking(options.rerank, options.mmr, options.comparing, self.progress, self.stop)

    def _searching(self) -> dict[str, Any]:
        """The options of the search that are not their defaults, and the models behind them."""
        standard = msgspec.to_builtins(self.options_type())
        given = {n: v for n, v in msgspec.to_builtins(self.options).items() if v != standard[n]}
        options = {name: value for name, value in given.items() if name in self.search_options}
        return options | ({"models": self._second.identity()} if self._second else {})

    @cached_property
    def _engine(self) -> Engine:
        return self._make_engine()

    @classmethod
    def open(cls, directory: Path, *, progress: Progress, **options: Any) -> Self:
        """The retriever of an index on disk, its corpus and how it was built read from the manifest.

        ``options`` are those of the search. Raises ``SetupError`` where there is none, ``IndexMismatch``
        where it is not of this kind or its corpus has changed since.
        """
        manifest = read_manifest(directory)
        if manifest.kind != cls.kind:
            raise IndexMismatch(f"{directory} is a {manifest.kind} index, not a {cls.kind} one")
        return cls(Path(manifest.corpus.path), directory, progress=progress, **manifest.options | options)

    async def search(self, query: str, k: int) -> list[Passage]:
        """The ``k`` best passages, best first, ties by id; fewer where the corpus has no more.

        BM25 returns only what shares a word with the query. A blank query finds nothing. Calls made while
        others are being answered are answered together. Raises ``UsageError`` for ``k`` below 1.
        """
        if k < 1:
            raise UsageError(f"search needs k ≥ 1, not {k}")
        return await self._batcher.ask((query, k)) if query.strip() else []

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Whole documents by id, in the order asked for. Needs no index. Raises ``CorpusError``."""
        return await asyncio.to_thread(self.corpus.get, ids)

    async def unknown(self, documents: Sequence[str]) -> list[str]:
        """Those of some documents, by id, that the corpus lacks. Needs no index."""
        return await asyncio.to_thread(self.corpus.unknown, documents)

    async def prepare(self) -> None:
        """Build or load the index now."""
        await self._in_thread(self._ready)

    async def verify(self) -> list[Check]:
        """Whether the index on disk is whole and of this corpus; a few passages are embedded anew.

        Raises ``SetupError`` where there is none, or what its files promise cannot be loaded.
        """
        return await self._in_thread(self._verify)

    async def close(self) -> None:
        """Stop a build that is under way; what it has embedded stays. Nothing can be searched afterwards."""
        self.stop.set()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def describe(self) -> dict[str, Any]:
        """For provenance: what was searched (kind, corpus, options, engine, versions, counts).

        Empty until the index has been loaded, by ``prepare`` or the first ``search``.
        """
        if self._rows is None:
            return {}
        facts: dict[str, Any] = msgspec.to_builtins(read_manifest(self.directory))
        return facts | ({"search": search} if (search := self._searching()) else {})

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run in the one search thread. Cancelling the caller also ends an embedding under way."""
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
        ]

    def _answer(self, calls: list[tuple[str, int]]) -> list[list[Passage]]:
        """One batch. Calls are grouped by ``k``, so that no answer depends on what it was asked with."""
        self._ready()
        answers: list[list[Passage]] = [[] for _ in calls]
        order = sorted(range(len(calls)), key=lambda i: calls[i][1])
        for k, group in groupby(order, key=lambda i: calls[i][1]):
            places = list(group)
            first = max(k, self.options.depth) if self._second else k
            found = self._engine.search([calls[i][0] for i in places], first)
            for i, hits in zip(places, found, strict=True):
                passages = self._fetch(hits)
                answers[i] = self._second(calls[i][0], passages, k) if self._second else passages
        return answers

    def _fetch(self, hits: Hits) -> list[Passage]:
        """Passages with their texts. A chunk is cut again from its document: it is not stored twice."""
        rows, scores = self._ready(), hits[1]
        ids, places = zip(*map(rows.find, hits[0]), strict=True) if hits[0] else ((), ())
        names = [id.rpartition("#")[0] if self.options.chunked else id for id in ids]
        wanted = list(dict.fromkeys(zip(names, places, strict=True)))
        documents = {d.id: d for d in self.corpus.read(wanted)}
        found = []
        for name, id, score in zip(names, ids, scores, strict=True):
            passage = next(p for p in self._cut(documents[name]) if p.id == id)
            found.append(msgspec.structs.replace(passage, score=score))
        return found

    @cached_property
    def _cut(self) -> Callable[[Passage], list[Passage]]:
        return self.options.cutter()

    def _ready(self) -> Rows:
        """The rows; loads the index, and builds it first where there is none."""
        if self._rows is None:
            if not (self.directory / MANIFEST).exists():
                self._build()
            self._check()
            self._engine.load(self.directory)
            self._rows = Rows(self.directory)
        return self._rows

    def _build(self) -> None:
        engine = self._engine  # first: a missing encoder should be known before the corpus is read
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
        """What an index built now would say of itself."""
        return Manifest(
            kind=self.kind,
            corpus=CorpusFacts(
                self.corpus.place, self.corpus.fingerprint, self.corpus.layout.name, self.corpus.stamp
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
        """Whether the index is what is wanted. The corpus is only read where its files have changed since."""
        manifest, stamp = read_manifest(self.directory), self.corpus.stamp
        if manifest.corpus.stamp == stamp:
            self.corpus.fingerprint = manifest.corpus.fingerprint
        if differences := manifest.differences(self._manifest()):
            raise IndexMismatch(
                f"{self.directory} holds an index for something else: {'; '.join(differences)}. To build it "
                f"anew, delete that folder, or choose another: evalkit index build "
                f"{shlex.quote(str(self.corpus.path))} "
                f"--retriever {self.kind} --out FOLDER"
            )
        if manifest.corpus.stamp != stamp:
            corpus = msgspec.structs.replace(manifest.corpus, stamp=stamp)
            with contextlib.suppress(OSError):  # an index that cannot be written compares the next time too
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
