"""A corpus: a JSON Lines file of documents, read as a stream or by id.

Each line has an id (``id``, ``_id`` or ``doc_id``), a ``text``, maybe a ``title``; everything else is kept as
metadata. Only the ids and where their lines begin are held in memory.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import msgspec

from evalkit.errors import CorpusError, did_you_mean
from evalkit.paths import cache_dir
from evalkit.types import Passage

_ID_KEYS = ("id", "_id", "doc_id")


class Corpus:
    """The documents of a ``.jsonl`` or ``.jsonl.gz`` file.

    Raises ``CorpusError`` for a file that is not there. Its lines are checked, all of them, when they are
    first needed: one that is not a JSON object, lacks id or text, or repeats an id raises ``CorpusError``
    with file and line.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CorpusError(f"{path}: no such file. A corpus is a JSONL file with id, title and text.")
        self.path = path
        self._lock = threading.Lock()
        self._found: dict[str, int] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content, the same for a file and its gzip."""
        digest = hashlib.sha256()
        with self._open() as file:
            for block in self._guarded(iter(lambda: file.read(1 << 20), b"")):
                digest.update(block)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> Iterator[Passage]:
        """Every document in the order of the file, one in memory at a time."""
        for number, _, line in self._lines():
            yield _document(line, f"{self.path}:{number}")

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """Documents by id, in the order asked for. Raises ``CorpusError`` for an unknown id."""
        offsets = self._offsets
        for id in ids:
            if id not in offsets:
                raise CorpusError(f"{self.path}: no document {id!r}.{did_you_mean(id, offsets)}")
        with self._plain.open("rb") as file:
            return [self._at(file, offsets[id], id) for id in ids]

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
        lines: dict[str, int] = {}
        for number, offset, line in self._lines():
            id = _document(line, f"{self.path}:{number}").id
            if id in offsets:
                raise CorpusError(f"{self.path}:{number}: id {id!r} was already used in line {lines[id]}")
            offsets[id], lines[id] = offset, number
        if not offsets:
            raise CorpusError(f"{self.path}: no documents in it")
        return offsets

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Line number, byte offset and content of every line that is not blank."""
        offset = 0
        with self._open() as file:
            for number, line in enumerate(self._guarded(iter(file)), 1):
                if line.strip():
                    yield number, offset, line
                offset += len(line)

    def _open(self) -> IO[bytes]:
        return gzip.open(self.path, "rb") if self.path.suffix == ".gz" else self.path.open("rb")  # type: ignore[return-value]

    def _guarded(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from blocks
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CorpusError(f"{self.path}: a damaged gzip file: {error}") from None

    @cached_property
    def _plain(self) -> Path:
        """The file to seek in: a gzip gets an unpacked copy in the cache, named by its content."""
        if self.path.suffix != ".gz":
            return self.path
        home = cache_dir() / "corpora"
        home.mkdir(exist_ok=True)
        copy = home / f"{self.fingerprint}.jsonl"
        if not copy.exists():
            with tempfile.NamedTemporaryFile(dir=home, delete=False) as part, self._open() as file:
                shutil.copyfileobj(file, part)
            Path(part.name).replace(copy)
        return copy


def indexed_text(passage: Passage) -> str:
    """What is embedded and searched: title, space, text."""
    return f"{passage.title} {passage.text}".strip()


def _document(line: bytes, where: str) -> Passage:
    try:
        row = msgspec.json.decode(line.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorpusError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: a JSON {type(row).__name__}, not an object with id and text")
    id = _take_id(row, where)
    text, title = row.pop("text", None), row.pop("title", None) or ""
    if not isinstance(text, str) or not isinstance(title, str):
        raise CorpusError(f"{where}: document {id!r} has no text (a string under 'text')")
    if not text.strip() and not title.strip():
        raise CorpusError(f"{where}: document {id!r} is empty: neither text nor title")
    return Passage(id, text, title, doc_id=str(row.pop("doc_id", id)), metadata=row)


def _take_id(row: dict[str, Any], where: str) -> str:
    key = next((key for key in _ID_KEYS if key in row), None)
    id = row.pop(key) if key else None
    if isinstance(id, bool) or not isinstance(id, (str, int)) or id == "":
        raise CorpusError(f"{where}: no id (a string under one of {', '.join(_ID_KEYS)})")
    return str(id)
