"""A corpus: documents in one of several formats (``formats.py``), read as a stream or by id.

Each document has an id, a text and possibly a title; all other columns are metadata. Memory holds only hashes
of the ids and the offsets of their lines, 24 bytes for each document. A corpus in another format than JSON
Lines is first copied as JSON Lines into the cache.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from evalkit.data.bounded import blocks, lines, record_limit, too_long
from evalkit.errors import CorpusError, did_you_mean
from evalkit.types import Passage, Progress
from evalkit.util.paths import cache_dir
from evalkit.util.progress import Silent

from . import formats
from .jsonl import FIELDS, Fields, document_of, is_empty, row_of, title_like

_MAX_COMPARED = 100_000  # ids that an unknown id is compared with, for "Did you mean"


class Corpus:
    """The documents of a file or folder.

    Raises ``CorpusError`` if the corpus is missing or of an unknown format. The first access checks all
    documents: a document that cannot be read, lacks id or text, or has the id of another one with another
    text raises ``CorpusError`` with file and line. Exact repetitions are dropped and counted in ``repeated``.
    Documents with neither title nor text are counted in ``empty``; ``get`` knows them, nothing else yields
    them. ``fields`` names the columns of title and text.
    """

    def __init__(self, path: Path, progress: Progress | None = None, fields: Fields = FIELDS) -> None:
        self.path, self.fields = path, fields
        self.layout = formats.recognize(path)
        self.repeated = self.retracted = self.empty = 0  # counted by the first pass
        self.untitled: str | None = None  # the field that may hold the titles, where no document has one
        self._progress = progress or Silent()
        self._lock = threading.Lock()
        self._loaded: LineIndex | None = None
        self._parents: set[str] = set()

    @property
    def location(self) -> str:
        """The absolute path, or the name on the hub."""
        return str(self.path) if str(self.path).startswith(formats.HUB) else str(self.path.resolve())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content, the same for a JSONL file and its gzip.

        May be set to an earlier result, if the ``stamp`` of the files is still the same.
        """
        return self.read_fingerprint()

    @property
    def stamp(self) -> str:
        """A hash of the files' sizes, times and inodes; it changes when a file is written or replaced."""
        facts = [
            (file.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
            for file in self.layout.files
            for stat in [file.stat()]
        ]
        return hashlib.sha256(repr((self.layout.name, formats.VERSION, facts)).encode()).hexdigest()

    def read_fingerprint(self) -> str:
        """Compute the fingerprint by reading the files."""
        digest = hashlib.sha256()
        if self.layout.rows is not None:
            digest.update(f"{self.layout.name} {formats.VERSION}\n".encode())
        for path in self.layout.files:
            for block in blocks(path, unpacked=self.layout.rows is None):
                digest.update(block)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._index.offsets) - self.empty

    def __iter__(self) -> Iterator[Passage]:
        """Yield every document that is not empty in the order of the files, one in memory at a time."""
        return (document for _, document in self.documents())

    def documents(self) -> Iterator[tuple[int, Passage]]:
        """Yield every document that is not empty with its offset, for ``read``."""
        offsets, n = self._index.offsets, 0
        for number, offset, line in lines(self._lines_file):
            if n < len(offsets) and offset == offsets[n]:
                n += 1
                document = self._document(line, f"{self._lines_file}:{number}")
                if not is_empty(document):
                    yield offset, document

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return documents by id, in the order of ``ids``. Raises ``CorpusError`` for an unknown id."""
        candidates = [(id, self._index.candidates(id)) for id in ids]
        for id, offsets in candidates:
            if not offsets:
                existing = [document.id for document in self] if len(self) <= _MAX_COMPARED else []
                raise CorpusError(f"{self.path}: no document {id!r}.{did_you_mean(id, existing)}")
        with self._plain.open("rb") as file:
            return [self._find(file, id, offsets) for id, offsets in candidates]

    def read(self, places: Sequence[tuple[str, int]]) -> list[Passage]:
        """Return documents by id and offset, without a pass over the files.

        Raises ``CorpusError`` if an offset holds another document.
        """
        with self._plain.open("rb") as file:
            return [self._find(file, id, [offset]) for id, offset in places]

    def unknown(self, documents: Sequence[str]) -> list[str]:
        """Return the ids that name neither a document nor the ``doc_id`` of one."""
        index = self._index
        return [name for name in documents if not index.candidates(name) and name not in self._parents]

    def _find(self, file: IO[bytes], id: str, offsets: Sequence[int]) -> Passage:
        for offset in offsets:
            document = self._at(file, offset)
            if document.id == id:
                return document
        raise CorpusError(f"{self.path} was changed while it was in use: start again")

    def _at(self, file: IO[bytes], offset: int) -> Passage:
        file.seek(offset)
        return self._document(file.readline(), f"{self.path}: byte {offset}")

    def _document(self, line: bytes, where: str) -> Passage:
        return document_of(row_of(line, where), where, self.fields)

    @property
    def _index(self) -> LineIndex:
        """The offsets of the documents' lines; the first access reads the whole file."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._scan()
            return self._loaded

    def _scan(self) -> LineIndex:
        hashes, offsets, retracted, empty = array("Q"), array("q"), bytearray(), bytearray()
        titles: Counter[str] = Counter()  # by field, "" for the title itself
        for number, offset, line in lines(self._lines_file):
            document = self._document(line, f"{self._lines_file}:{number}")
            hashes.append(_hash(document.id))
            offsets.append(offset)
            retracted.append(document.metadata.get("retracted") is True)
            empty.append(is_empty(document))
            titles.update([""] if document.title else title_like(document))
            if document.document != document.id:
                self._parents.add(document.document)
        self._check_scanned(empty, titles)
        index = LineIndex(np.array(hashes), np.array(offsets))
        is_first = np.ones(len(offsets), bool)
        is_first[self._repetitions(index)] = False
        self.repeated = int((~is_first).sum())
        self.retracted = int(np.frombuffer(retracted, bool)[is_first].sum())
        self.empty = int(np.frombuffer(empty, bool)[is_first].sum())
        return LineIndex(np.array(hashes)[is_first], index.offsets[is_first]) if self.repeated else index

    def _check_scanned(self, empty: bytearray, titles: Counter[str]) -> None:
        """Raise ``CorpusError`` if there is nothing to search or no title where a field was named."""
        if not empty:
            raise CorpusError(f"{self.path}: no documents in it")
        if all(empty):
            names = f"strings under {self.fields.title!r}, {self.fields.text!r}"
            raise CorpusError(
                f"{self.path}: none of its {len(empty):,} documents has a title or a text ({names})"
            )
        if not titles[""] and self.fields.title != FIELDS.title:
            raise CorpusError(f"{self.path}: no document has a title under {self.fields.title!r}")
        self.untitled = (
            next((name for name, _ in titles.most_common() if name), None) if not titles[""] else None
        )

    def _repetitions(self, index: LineIndex) -> list[int]:
        """Return the numbers of the documents with the id and the text of an earlier one.

        Raises ``CorpusError`` for one id with two texts.
        """
        repetitions = []
        with self._plain.open("rb") as file:
            for number, others in index.collisions():
                document = self._at(file, int(index.offsets[number]))
                earlier = ((other, self._at(file, int(index.offsets[other]))) for other in others)
                first = next(((n, other) for n, other in earlier if other.id == document.id), None)
                if first is None:
                    continue
                if (first[1].title, first[1].text) != (document.title, document.text):
                    raise self._used_twice(document.id, *index.offsets[[first[0], number]].tolist())
                repetitions.append(number)
        return repetitions

    def _used_twice(self, id: str, first: int, second: int) -> CorpusError:
        where, first_use = str(self.path), "before"
        if self.layout.rows is None:
            uses = (first, second)
            numbers = {offset: n for n, offset, _ in lines(self._lines_file) if offset in uses}
            where, first_use = f"{self._lines_file}:{numbers[second]}", f"in line {numbers[first]}"
        return CorpusError(f"{where}: id {id!r} was already used {first_use}, with another text")

    @property
    def _lines_file(self) -> Path:
        """The JSON Lines to read in order: the corpus itself, or the copy of one in another format."""
        return self._plain if self.layout.rows is not None else self.layout.files[0]

    @cached_property
    def _plain(self) -> Path:
        """The JSON Lines to seek in: the corpus itself, or a copy in the cache, named by its fingerprint.

        A corpus that is packed or in another format has a copy.
        """
        if self.layout.rows is None and self.layout.files[0].suffix != ".gz":
            return self.layout.files[0]
        home = cache_dir() / "corpora"
        home.mkdir(exist_ok=True)
        copy = home / f"{self.fingerprint}.jsonl"
        if not copy.exists():
            with tempfile.TemporaryDirectory(dir=home, prefix=".reading-") as folder:
                part = Path(folder) / copy.name
                with part.open("wb") as file:
                    for part_of_it in self._read(Path(folder)):
                        file.write(part_of_it)
                part.replace(copy)
        return copy

    def _read(self, folder: Path) -> Iterator[bytes]:
        """Yield the content of the copy; errors name the original file and row."""
        if self.layout.rows is None:
            yield from blocks(self.layout.files[0])
            return
        limit = record_limit()
        with self._progress.bar(f"Reading {self.path.name}", None) as bar:
            for where, row in self.layout.rows(folder):
                document_of(row, where, self.fields)
                line = msgspec.json.encode(row, enc_hook=str) + b"\n"
                if len(line) > limit:
                    raise too_long(where, "the document", limit)
                yield line
                bar.advance()


class LineIndex:
    """The offsets of the documents' lines, in the order of the file and by a 64-bit hash of the id.

    Two ids may have the same hash, so that the caller compares the ids of the candidates.
    """

    def __init__(self, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> None:
        self.offsets = offsets
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def candidates(self, id: str) -> list[int]:
        """Return the offsets of all documents with the id's hash."""
        hash = np.uint64(_hash(id))
        low, high = (np.searchsorted(self._hashes, hash, side) for side in ("left", "right"))
        return [int(offset) for offset in self.offsets[self._order[low:high]]]

    def collisions(self) -> list[tuple[int, list[int]]]:
        """Return the number of each document whose hash earlier ones have, with their numbers."""
        collisions = []
        for position in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]) + 1:
            start = np.searchsorted(self._hashes, self._hashes[position])
            collisions.append((int(self._order[position]), self._order[start:position].tolist()))
        return sorted(collisions)


def _hash(id: str) -> int:
    digest = hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def indexed_text(passage: Passage) -> str:
    """Return the text that is embedded and searched: title, space, text."""
    return f"{passage.title} {passage.text}".strip()
