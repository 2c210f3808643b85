"""A corpus: documents in one of several layouts (``formats.py``), read as a stream or by id.

Each document has an id, a text, maybe a title; everything else is kept as metadata. In memory are only hashes
of the ids and where their lines begin, 24 bytes a document. What is not JSON Lines is written as such
into the cache first.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.errors import CorpusError, did_you_mean
from evalkit.types import Passage, Progress
from evalkit.util.paths import cache_dir
from evalkit.util.progress import Silent

from . import formats
from .jsonl import document_of, guarded, lines, open_file, row_of

_COMPARED = 100_000  # ids among which one looks for what was meant


class Corpus:
    """The documents of a file or folder.

    Raises ``CorpusError`` for one that is not there or not known. All documents are checked when they are
    first needed: one that cannot be read, lacks id or text, or has another's id and another text raises
    ``CorpusError`` with file and line. One that is repeated word for word counts once, in ``repeated``.
    """

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.path = path
        self.layout = formats.recognize(path)
        self.repeated = self.retracted = 0  # counted by the first pass
        self._progress = progress or Silent()
        self._lock = threading.Lock()
        self._known: Index | None = None
        self._parents: set[str] = set()

    @property
    def place(self) -> str:
        """Where it is, also when asked from another working directory."""
        return str(self.path) if str(self.path).startswith(formats.HUB) else str(self.path.resolve())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content, the same for a JSONL file and its gzip.

        May be set to what it was found to be when the files had the ``stamp`` that they have now.
        """
        return self.read_fingerprint()

    @property
    def stamp(self) -> str:
        """What changes when a file is written or another takes its place: sizes, times and inode numbers."""
        facts = [
            (file.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            for file in self.layout.files
            for stat in [file.stat()]
        ]
        return hashlib.sha256(repr((self.layout.name, formats.VERSION, facts)).encode()).hexdigest()

    def read_fingerprint(self) -> str:
        """The fingerprint, by reading the files."""
        digest = hashlib.sha256()
        if self.layout.rows is not None:
            digest.update(f"{self.layout.name} {formats.VERSION}\n".encode())
        for path in self.layout.files:
            with open_file(path) if self.layout.rows is None else path.open("rb") as file:
                for block in guarded(path, iter(lambda: file.read(1 << 20), b"")):
                    digest.update(block)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._index.offsets)

    def __iter__(self) -> Iterator[Passage]:
        """Every document in the order of the files, one in memory at a time."""
        return (document for _, document in self.documents())

    def documents(self) -> Iterator[tuple[int, Passage]]:
        """The same, each with the place that ``read`` finds it by."""
        offsets, n = self._index.offsets, 0
        for number, offset, line in lines(self._lines_file):
            if n < len(offsets) and offset == offsets[n]:
                n += 1
                yield offset, _document(line, f"{self._lines_file}:{number}")

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Documents by id, in the order asked for. Raises ``CorpusError`` for an unknown id."""
        places = [(id, self._index.places(id)) for id in ids]
        for id, found in places:
            if not found:
                near = [document.id for document in self] if len(self) <= _COMPARED else []
                raise CorpusError(f"{self.path}: no document {id!r}.{did_you_mean(id, near)}")
        with self._plain.open("rb") as file:
            return [self._one(file, id, found) for id, found in places]

    def read(self, places: Sequence[tuple[str, int]]) -> list[Passage]:
        """Documents by id and place, without a pass over the files. Raises ``CorpusError`` where another
        document is there."""
        with self._plain.open("rb") as file:
            return [self._one(file, id, [place]) for id, place in places]

    def unknown(self, documents: Sequence[str]) -> list[str]:
        """Those that are neither documents nor what documents name as the one that they were cut from."""
        index = self._index
        return [name for name in documents if not index.places(name) and name not in self._parents]

    def _one(self, file: IO[bytes], id: str, places: Sequence[int]) -> Passage:
        for place in places:
            document = self._at(file, place)
            if document.id == id:
                return document
        raise CorpusError(f"{self.path} was changed while it was in use: start again")

    def _at(self, file: IO[bytes], offset: int) -> Passage:
        file.seek(offset)
        return _document(file.readline(), f"{self.path}: byte {offset}")

    @property
    def _index(self) -> Index:
        """Where each document's line begins; one pass over the file, the first time."""
        with self._lock:
            if self._known is None:
                self._known = self._scan()
            return self._known

    def _scan(self) -> Index:
        hashes, offsets, retracted = array("Q"), array("q"), bytearray()
        for number, offset, line in lines(self._lines_file):
            document = _document(line, f"{self._lines_file}:{number}")
            hashes.append(_hash(document.id))
            offsets.append(offset)
            retracted.append(document.metadata.get("retracted") is True)
            if document.document != document.id:
                self._parents.add(document.document)
        if not offsets:
            raise CorpusError(f"{self.path}: no documents in it")
        every = Index(np.array(hashes), np.array(offsets))
        once = np.ones(len(offsets), bool)
        once[self._repeated(every)] = False
        self.repeated = int((~once).sum())
        self.retracted = int(np.frombuffer(retracted, bool)[once].sum())
        return Index(np.array(hashes)[once], every.offsets[once]) if self.repeated else every

    def _repeated(self, every: Index) -> list[int]:
        """The documents, by number, whose id an earlier one has with the same text."""
        found = []
        with self._plain.open("rb") as file:
            for number, others in every.alike():
                document = self._at(file, int(every.offsets[number]))
                before = ((other, self._at(file, int(every.offsets[other]))) for other in others)
                first = next(((n, earlier) for n, earlier in before if earlier.id == document.id), None)
                if first is None:
                    continue
                if (first[1].title, first[1].text) != (document.title, document.text):
                    raise self._used_twice(document.id, *every.offsets[[first[0], number]].tolist())
                found.append(number)
        return found

    def _used_twice(self, id: str, first: int, again: int) -> CorpusError:
        where, place = str(self.path), "before"
        if self.layout.rows is None:
            numbers = {
                offset: number for number, offset, _ in lines(self._lines_file) if offset in (first, again)
            }
            where, place = f"{self._lines_file}:{numbers[again]}", f"in line {numbers[first]}"
        return CorpusError(f"{where}: id {id!r} was already used {place}, with another text")

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


class Index:
    """Where the lines of documents begin: ``offsets`` in the order of the file, and found by a 64-bit hash of
    the id. Two ids may share one, so what is found is compared with the id that was meant."""

    def __init__(self, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        self.offsets = offsets
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def places(self, id: str) -> list[int]:
        """Where documents of that id, or of one with its hash, begin."""
        hash = np.uint64(_hash(id))
        low, high = (np.searchsorted(self._hashes, hash, side) for side in ("left", "right"))
        return [int(offset) for offset in self.offsets[self._order[low:high]]]

    def alike(self) -> list[tuple[int, list[int]]]:
        """Documents, by number, with the earlier ones of the same hash."""
        found = []
        for place in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]) + 1:
            start = np.searchsorted(self._hashes, self._hashes[place])
            found.append((int(self._order[place]), self._order[start:place].tolist()))
        return sorted(found)


def _hash(id: str) -> int:
    digest = hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def indexed_text(passage: Passage) -> str:
    """What is embedded and searched: title, space, text."""
    return f"{passage.title} {passage.text}".strip()


def _document(line: bytes, where: str) -> Passage:
    return document_of(row_of(line, where), where)
