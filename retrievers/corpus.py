"""A corpus: documents in one of several layouts (``layouts.py``), read as a stream or by id.

Each document has an id, a text, maybe a title; everything else is kept as metadata. Only the ids and where
their lines begin are held in memory: what is not JSON Lines is written as such into the cache first.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from pathlib import Path
from typing import IO

import msgspec

from evalkit.errors import CorpusError, did_you_mean
from evalkit.paths import cache_dir
from evalkit.progress import Silent
from evalkit.types import Passage, Progress

from . import layouts
from .documents import document_of, guarded, lines, open_file, row_of


class Corpus:
    """The documents of a file or folder.

    Raises ``CorpusError`` for one that is not there or not known. All documents are checked when they are
    first needed: one that cannot be read, lacks id or text, or has another's id and another text raises
    ``CorpusError`` with file and line. One that is repeated word for word counts once, in ``repeated``.
    """

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path = path
        self.layout = layouts.recognize(path)
        self.repeated = self.retracted = 0  # counted by the first pass
        self._progress = progress or Silent()
        self._lock = threading.Lock()
        self._found: dict[str, int] | None = None
        self._parents: set[str] = set()

    @property
    def place(self) -> str:
        """Where it is, also when asked from another working directory."""
        return str(self.path) if str(self.path).startswith(layouts.HUB) else str(self.path.resolve())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content, the same for a JSONL file and its gzip."""
        digest = hashlib.sha256()
        if self.layout.rows is not None:
            digest.update(f"{self.layout.name} {layouts.VERSION}\n".encode())
        for path in self.layout.files:
            with open_file(path) if self.layout.rows is None else path.open("rb") as file:
                for block in guarded(path, iter(lambda: file.read(1 << 20), b"")):
                    digest.update(block)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[Passage]:
        """Every document in the order of the files, one in memory at a time."""
        offsets = self._offsets
        for number, offset, line in lines(self._lines_file):
            document = _document(line, f"{self._lines_file}:{number}")
            if offsets.get(document.id) == offset:
                yield document

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Documents by id, in the order asked for. Raises ``CorpusError`` for an unknown id."""
        offsets = self._offsets
        for id in ids:
            if id not in offsets:
                raise CorpusError(f"{self.path}: no document {id!r}.{did_you_mean(id, offsets)}")
        with self._plain.open("rb") as file:
            return [self._at(file, offsets[id], id) for id in ids]

    @property
    def names(self) -> AbstractSet[str]:
        """Ids of all documents, and what they name as the document that they were cut from."""
        return self._offsets.keys() | self._parents

    def _at(self, file: IO[bytes], offset: int, id: str) -> Passage:
        file.seek(offset)
        document = _document(file.readline(), f"{self.path}: byte {offset}")
        if document.id != id:
            raise CorpusError(f"{self.path} was changed while it was in use: start again")
        return document

    @property
    def _offsets(self) -> dict[str, int]:
        """Where each document's line begins, by id; one pass over the file, the first time."""
        with self._lock:
            if self._found is None:
                self._found = self._scan()
            return self._found

    def _scan(self) -> dict[str, int]:
        offsets: dict[str, int] = {}
        numbers: dict[str, int] = {}
        self.repeated = self.retracted = 0
        for number, offset, line in lines(self._lines_file):
            document = _document(line, f"{self._lines_file}:{number}")
            id = document.id
            if id in offsets:
                self._check_same(document, offsets[id], number, numbers[id])
                self.repeated += 1
                continue
            offsets[id], numbers[id] = offset, number
            if document.document != id:
                self._parents.add(document.document)
            self.retracted += document.metadata.get("retracted") is True
        if not offsets:
            raise CorpusError(f"{self.path}: no documents in it")
        return offsets

    def _check_same(self, document: Passage, offset: int, number: int, first: int) -> None:
        with self._plain.open("rb") as file:
            before = self._at(file, offset, document.id)
        if (before.title, before.text) != (document.title, document.text):
            where = f"{self._lines_file}:{number}" if self.layout.rows is None else str(self.path)
            place = f"in line {first}" if self.layout.rows is None else "before"
            raise CorpusError(f"{where}: id {document.id!r} was already used {place}, with another text")

    @property
    def _lines_file(self) -> Path:
        """The JSON Lines to go through: the corpus itself, or the copy of one in another layout."""
        return self._plain if self.layout.rows is not None else self.layout.files[0]

    @cached_property
    def _plain(self) -> Path:
        """The JSON Lines to seek in; what is packed or laid out otherwise gets a copy in the cache, named by
        its content."""
        if self.layout.rows is None and self.layout.files[0].suffix != ".gz":
            return self.layout.files[0]
        home = cache_dir() / "corpora"
        home.mkdir(exist_ok=True)
        copy = home / f"{self.fingerprint}.jsonl"
        if not copy.exists():
            with tempfile.TemporaryDirectory(dir=home, prefix=".reading-") as folder:
                part = Path(folder) / copy.name
                with part.open("wb") as file:
                    for line in self._read(Path(folder)):
                        file.write(line)
                part.replace(copy)
        return copy

    def _read(self, folder: Path) -> Iterator[bytes]:
        """The lines of the copy, each checked where it comes from."""
        if self.layout.rows is None:
            with open_file(self.layout.files[0]) as packed:
                yield from guarded(self.layout.files[0], iter(packed))
            return
        with self._progress.bar(f"Reading {self.path.name}", None) as bar:
            for where, row in self.layout.rows(folder):
                document_of(row, where)
                yield msgspec.json.encode(row, enc_hook=str) + b"\n"
                bar.advance()


def indexed_text(passage: Passage) -> str:
    """What is embedded and searched: title, space, text."""
    return f"{passage.title} {passage.text}".strip()


def _document(line: bytes, where: str) -> Passage:
    return document_of(row_of(line, where), where)
