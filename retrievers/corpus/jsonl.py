"""Documents from rows and lines of JSON; errors name the file and the line."""

from __future__ import annotations

from typing import Any

import msgspec

from evalkit.errors import CorpusError
from evalkit.reading.surrogates import decoded_line
from evalkit.types import Passage

from .markup import plain

ID_KEYS = ("id", "_id", "passage_id", "doc_id", "pmid")

_TITLES = {"headline", "heading", "header", "name", "subject", "caption"}

Row = dict[str, Any]


def row_of(line: bytes, where: str) -> Row:
    """Return the object in a line. Raises ``CorpusError``."""
    try:
        row = decoded_line(line.removeprefix(b"\xef\xbb\xbf"), object)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorpusError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise CorpusError(f"{where}: a JSON {type(row).__name__}, not an object with id and text")
    return row


class Fields(msgspec.Struct, frozen=True):
    """The names of the columns with a document's title and text."""

    title: str = "title"
    text: str = "text"


FIELDS = Fields()


def document_of(row: Row, where: str, fields: Fields = FIELDS) -> Passage:
    """Return a document from its columns: id, text (or MedRAG's ``content``), title; the others are metadata.

    A column ``doc_id`` beside an id names the document of a passage. A document may be empty: neither title
    nor text, and nothing else that could be its text. Raises ``CorpusError``.
    """
    row = dict(row)
    if isinstance(row.get("metadata"), dict):  # BEIR's form
        row = row.pop("metadata") | row
    id = _take_id(row, where)
    if fields.text == "text" not in row and "content" in row:
        row["text"] = row.pop("content")
        row.pop("contents", None)  # MedRAG's copy of title and content
    title = row.pop(fields.title, None) or ""
    is_missing = fields.text not in row
    text = row.pop(fields.text, None) or ""
    others = [name for name, value in row.items() if isinstance(value, str) and value.strip()]
    if not isinstance(text, str) or not isinstance(title, str) or (is_missing and (title or others)):
        hint = f". Its fields are {', '.join(row)}: --text-field NAME" if is_missing and others else ""
        raise CorpusError(f"{where}: document {id!r} has no text (a string under {fields.text!r}){hint}")
    return Passage(id, plain(text), plain(title), doc_id=str(row.pop("doc_id", id)), metadata=row)


def is_empty(document: Passage) -> bool:
    """Return whether a document has neither title nor text, so that nothing can find it."""
    return not document.text.strip() and not document.title.strip()


def title_like(document: Passage) -> list[str]:
    """Return the fields of a document that may hold its title under another name."""
    named = {
        name: name.lower() for name, value in document.metadata.items() if isinstance(value, str) and value
    }
    return [name for name, lower in named.items() if "title" in lower or lower in _TITLES]


def _take_id(row: Row, where: str) -> str:
    key = next((key for key in ID_KEYS if key in row), None)
    id = row.pop(key) if key else None
    if isinstance(id, bool) or not isinstance(id, (str, int)) or id == "":
        raise CorpusError(f"{where}: no id (a string under one of {', '.join(ID_KEYS)})")
    return str(id)
