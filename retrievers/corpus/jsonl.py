"""Reads documents from lines of JSON; errors name the file and the line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from evalkit.errors import CorpusError
from evalkit.reading.surrogates import decoded_line
from evalkit.types import Passage

ID_KEYS = ("id", "_id", "passage_id", "doc_id", "pmid")

Row = dict[str, Any]


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading; a name that ends in ``.gz`` is unpacked."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def guarded(path: Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the blocks read from ``path``. Raises ``CorpusError`` for damaged gzip."""
    try:
        yield from blocks
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: a damaged gzip file: {error}") from None


def lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield line number, byte offset and content of every line that is not blank."""
    offset = 0
    with open_file(path) as file:
        for number, line in enumerate(guarded(path, iter(file)), 1):
            if line.strip():
                yield number, offset, line
            offset += len(line)


def row_of(line: bytes, where: str) -> Row:
    """Return the object in a line. Raises ``CorpusError``."""
    try:
        row = decoded_line(line.removeprefix(b"\xef\xbb\xbf"), object)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorpusError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: a JSON {type(row).__name__}, not an object with id and text")
    return row


def document_of(row: Row, where: str) -> Passage:
    """Return a document from its columns: id, text (or MedRAG's ``content``), title; the others are metadata.

    A column ``doc_id`` beside an id names the document of a passage. Raises ``CorpusError``.
    """
    row = dict(row)
    if isinstance(row.get("metadata"), dict):  # BEIR's form
        row = row.pop("metadata") | row
    id = _take_id(row, where)
    if "text" not in row and "content" in row:
        row["text"] = row.pop("content")
        row.pop("contents", None)  # MedRAG's copy of title and content
    text, title = row.pop("text", None), row.pop("title", None) or ""
    if not isinstance(text, str) or not isinstance(title, str):
        raise CorpusError(f"{where}: document {id!r} has no text (a string under 'text')")
    if not text.strip() and not title.strip():
        raise CorpusError(f"{where}: document {id!r} is empty: neither text nor title")
    return Passage(id, text, title, doc_id=str(row.pop("doc_id", id)), metadata=row)


def _take_id(row: Row, where: str) -> str:
    key = next((key for key in ID_KEYS if key in row), None)
    id = row.pop(key) if key else None
    if isinstance(id, bool) or not isinstance(id, (str, int)) or id == "":
        raise CorpusError(f"{where}: no id (a string under one of {', '.join(ID_KEYS)})")
    return str(id)
