"""Reads files of data, plain or gzipped, with a bound on what one record takes.

A gzip of 300 kB can hold a line of 300 MB, and a reader that trusts it needs gigabytes. So a line, a record
of XML and a row of Parquet may have at most ``EVALKIT_MAX_RECORD_MB`` megabytes (default 16), and a JSON file
that is read whole four times as much. What is longer is an error that names the variable. Errors are
``CorpusError`` with file and line.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from evalkit.errors import CorpusError, UsageError

VARIABLE = "EVALKIT_MAX_RECORD_MB"
_DEFAULT_MB = 16
_WHOLE = 4  # a file that is read whole may be four times as large as a record
_BLOCK = 2**16


def record_limit() -> int:
    """Return the most bytes of one record. Raises ``UsageError`` for a variable that is no whole number."""
    text = os.environ.get(VARIABLE, "").strip() or str(_DEFAULT_MB)
    if not text.isdecimal() or not int(text):
        raise UsageError(f"{VARIABLE}={text}: give the number of megabytes that one record may have")
    return int(text) * 2**20


def whole_limit() -> int:
    """Return the most bytes of a file that is read whole."""
    return record_limit() * _WHOLE


def too_long(where: str, what: str, limit: int) -> CorpusError:
    """Return the error for a record of more than ``limit`` bytes."""
    return CorpusError(
        f"{where}: {what} has more than {limit // 2**20:,} MiB. If the file is right, allow longer records: "
        f"{VARIABLE}={limit // 2**20 * 4}"
    )


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading; a name that ends in ``.gz`` is unpacked."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Raise ``CorpusError`` for a file that cannot be opened or read, and for damaged gzip."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: a damaged gzip file: {error}") from None
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}") from None


def lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield line number, byte offset and content of every line that is not blank."""
    number, offset, limit = 0, 0, record_limit()
    with guarded(path), open_file(path) as file:
        while line := file.readline(limit + 1):
            number += 1
            if len(line) > limit:
                raise too_long(f"{path}:{number}", "the line", limit)
            if line.strip():
                yield number, offset, line
            offset += len(line)


def blocks(path: Path, *, unpacked: bool = True) -> Iterator[bytes]:
    """Yield the content in blocks; ``unpacked`` False yields a gzip as it is."""
    with guarded(path), open_file(path) if unpacked else path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def read_whole(path: Path) -> bytes:
    """Return the content of a file that must be read whole, such as one JSON document."""
    limit = whole_limit()
    with guarded(path), open_file(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise too_long(str(path), "the file", limit)
    return content


class BoundedStream:
    """A stream for a parser of XML. ``new_record`` is called whenever a record is complete."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._limit, self._read = record_limit(), 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most one block. Raises ``CorpusError`` in a record that is too long."""
        block = self._file.read(min(size, _BLOCK) if size >= 0 else _BLOCK)
        self._read += len(block)
        if self._read > self._limit:
            raise too_long(str(self._path), "one element", self._limit)
        return block

    def new_record(self) -> None:
        """Begin to count anew."""
        self._read = 0
