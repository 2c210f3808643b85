"""Rows of a data file of any common layout: JSON Lines, JSON, CSV, TSV, an Excel sheet, Parquet."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from evalkit.data.bounded import lines, read_whole, record_limit, too_long
from evalkit.data.source_location import Row
from evalkit.errors import CorpusError
from evalkit.extras import load
from evalkit.reading.surrogates import decoded_line

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".xlsx", ".parquet")
_BOM = b"\xef\xbb\xbf"
_CELL = re.compile(r"([A-Z]+)(\d+)")
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def suffix_of(path: Path) -> str:
    """Return the suffix that names a file's layout, without ``.gz``: ``.jsonl`` of ``test.jsonl.gz``."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def table_rows(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[Row]:
    """Yield the rows of a file, each with its place (``FILE:LINE``).

    ``columns`` gives columns other names, by their names in the file. A JSON file holds a list of objects,
    an object with one list, or an object of objects, whose keys become ``id``. Raises ``CorpusError`` for a
    file that cannot be read, with file and line for a broken row.
    """
    names = columns or {}
    for number, values in _numbered(path):
        row = Row({names.get(name, name): value for name, value in values.items()})
        row.place = f"{path}:{number}"
        yield row


def _numbered(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    suffix = suffix_of(path)
    if suffix == ".parquet":
        return parquet_rows(path)
    if suffix in (".jsonl", ".ndjson"):
        return _lines(path)
    raw = read_whole(path)
    if suffix == ".xlsx":
        return _sheet(path, raw)
    if suffix in (".csv", ".tsv"):
        return _delimited(path, raw, "\t" if suffix == ".tsv" else ",")
    try:
        return _objects(path, msgspec.json.decode(raw.removeprefix(_BOM)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # JSON Lines, under another name
        return _lines(path)


def parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and columns of each row of a Parquet file, a few rows in memory at a time.

    Raises ``CorpusError``; ``NotInstalled`` without pyarrow.
    """
    pyarrow, parquet = load("pyarrow", "Parquet"), load("pyarrow.parquet", "Parquet")
    number = 0
    try:
        table = parquet.ParquetFile(path)
        for batch in table.iter_batches(batch_size=_rows_at_once(table.metadata)):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{path}: cannot be read as Parquet: {error}") from None


def _rows_at_once(metadata: Any) -> int:
    """Return how many rows of a Parquet file fit into the size of a record: 1 to 1024."""
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
    return max(1, min(1024, record_limit() // max(1, widest)))


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, _, line in lines(path):
        try:
            yield number, decoded_line(line.removeprefix(_BOM), dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CorpusError(f"{path}:{number}: not a JSON object: {error}") from None


def _objects(path: Path, document: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the objects of a JSON document."""
    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list)]
        if len(lists) == 1 and len(document) == 1:
            document = lists[0]
        elif document and all(isinstance(value, dict) for value in document.values()):
            document = [{"id": name, **value} for name, value in document.items()]
        else:
            document = [document]
    for number, value in enumerate(document if isinstance(document, list) else [document], 1):
        if not isinstance(value, dict):
            raise CorpusError(f"{path}: entry {number} is no object but {str(value)[:60]!r}")
        yield number, value


def _delimited(path: Path, raw: bytes, delimiter: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8: {error}") from None
    csv.field_size_limit(record_limit())
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for values in reader:
            if None in values or None in values.values():
                columns = len(reader.fieldnames or ())
                raise CorpusError(f"{path}:{reader.line_num}: it has not {columns} columns")
            yield reader.line_num, values
    except csv.Error as error:
        if "field limit" in str(error):
            raise too_long(f"{path}:{reader.line_num}", "a field", record_limit()) from None
        raise CorpusError(f"{path}:{reader.line_num}: {error}") from None


def _sheet(path: Path, raw: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the rows of an Excel file's first sheet, by the names in its first row."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as book:
            names = sorted(name for name in book.namelist() if name.startswith("xl/worksheets/sheet"))
            sheet = _parsed(path, book, names[0])
            shared = "xl/sharedStrings.xml"
            texts = _parsed(path, book, shared) if shared in book.namelist() else ()
    except (zipfile.BadZipFile, IndexError, ElementTree.ParseError) as error:
        raise CorpusError(f"{path} is no Excel file (.xlsx): {error}") from None
    strings = [_text(item) for item in texts]
    head: dict[str, str] = {}
    for number, row in enumerate(sheet.iter(f"{_SHEET}row"), 1):
        cells = {}
        for cell in row:
            column = _CELL.match(cell.get("r", ""))
            value = cell.find(f"{_SHEET}v")
            text = "" if value is None else value.text or ""
            text = strings[int(text)] if cell.get("t") == "s" and text else text or _text(cell)
            if column and text:
                cells[column[1]] = text
        if number == 1:
            head = {column: name.strip() for column, name in cells.items()}
        elif cells:
            yield number, {name: cells.get(column, "") for column, name in head.items()}


def _parsed(path: Path, book: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if book.getinfo(name).file_size > record_limit():  # its elements take many times the bytes of the file
        raise too_long(f"{path}, {name}", "the sheet, unpacked,", record_limit())
    return ElementTree.fromstring(book.read(name))  # noqa: S314 - bounded; expat refuses entity bombs


def _text(element: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in element.iter(f"{_SHEET}t"))
