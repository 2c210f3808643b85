"""The embedding cache: vectors by the hash of their text, in one SQLite file for each way of encoding.

Vectors are written batch by batch: after Ctrl-C or ``kill -9``, the next run continues where this one
stopped. Several processes may share the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import SetupError

_LOOKUP = 500  # keys in one SQL statement

Vectors = NDArray[np.float32]


class VectorCache:
    """An open file of vectors by key (bytes)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def present(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that have a vector."""
        return {key for (key,) in self._select("key", keys)}

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """Return the vectors of those of ``keys`` that have one."""
        return {key: np.frombuffer(blob, np.float32) for key, blob in self._select("key, vector", keys)}

    def put(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Write vectors and commit."""
        rows = [(key, vector.tobytes()) for key, vector in zip(keys, vectors, strict=True)]
        self._connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
        self._connection.commit()

    def _select(self, columns: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
        for start in range(0, len(keys), _LOOKUP):
            part = keys[start : start + _LOOKUP]
            marks = ",".join("?" * len(part))
            yield from self._connection.execute(
                f"SELECT {columns} FROM vectors WHERE key IN ({marks})",  # noqa: S608
                part,
            )


@contextmanager
def open_cache(path: Path) -> Iterator[VectorCache]:
    """Open the cache in a file, or create it. Raises ``SetupError`` if the file cannot be used."""
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
            )
            yield VectorCache(connection)
    except sqlite3.Error as error:
        raise SetupError(
            f"{path}: the embedding cache cannot be used: {error}. Free some space, delete the "
            "file if it is damaged, or set EVALKIT_CACHE to another folder."
        ) from error
