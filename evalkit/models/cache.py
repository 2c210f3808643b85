"""The response cache: what a model said, by the content of what it was asked, in one SQLite file.

Every ``put`` is a transaction of its own, so a response that was received survives ``kill -9``; several
processes may share the file.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import StoreError
from evalkit.model import canonical, describe
from evalkit.types import Request, Response

_VERSION = 1
_COMPRESS_ABOVE = 1024
_PLAIN, _ZLIB = b"\x00", b"\x01"


def request_key(identity: Mapping[str, Any], request: Request, salt: str = "") -> bytes:
    """What a response is filed under: the model, every parameter, message, image hash, the repeat index."""
    content = {"v": _VERSION, "model": identity, "request": describe(request), "salt": salt}
    return hashlib.sha256(canonical(content)).digest()


class ResponseCache:
    """A file of responses. Raises ``StoreError`` where it cannot be used."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._decoder = msgspec.msgpack.Decoder(Response)
        self._encoder = msgspec.msgpack.Encoder()
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite's own lock makes one connection safe in several threads.
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._open()

    def get(self, key: bytes) -> Response | None:
        """The response filed under ``key``, marked ``from_cache``, or None."""
        with self._explained():
            row = self._db.execute("SELECT value FROM responses WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            value: bytes = row[0]
            raw = zlib.decompress(value[1:]) if value[:1] == _ZLIB else value[1:]
            return msgspec.structs.replace(self._decoder.decode(raw), from_cache=True)

    def put(self, key: bytes, response: Response) -> None:
        """File a response; it is on its way to the disk when this returns."""
        raw = self._encoder.encode(response)
        value = _ZLIB + zlib.compress(raw, 1) if len(raw) > _COMPRESS_ABOVE else _PLAIN + raw
        with self._explained():
            self._db.execute("INSERT OR REPLACE INTO responses VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self) -> None:
        db = self._db
        db.execute("PRAGMA busy_timeout = 30000")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreError(
                f"{self.path} was written by a newer evalkit (cache version {version}, this one reads up to "
                f"{_VERSION}): update evalkit, or delete the file; it holds only copies of responses"
            )
        self._switch_to_wal()
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("CREATE TABLE IF NOT EXISTS responses (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        if version < _VERSION:
            db.execute(f"PRAGMA user_version = {_VERSION}")

    def _switch_to_wal(self) -> None:
        """Processes that make the file at the same moment: here SQLite does not wait by itself."""
        deadline = time.monotonic() + 10
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as problem:
                if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Failures of SQLite and of the file system as ``StoreError``, with what to do."""
        try:
            yield
        except (msgspec.DecodeError, zlib.error) as problem:
            raise StoreError(self._corrupt(problem)) from None
        except OSError as problem:
            raise StoreError(f"the response cache {self.path} cannot be used: {problem.strerror}") from None
        except sqlite3.Error as problem:
            raise StoreError(self._explain(problem)) from None

    def _explain(self, problem: sqlite3.Error) -> str:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return f"no space left for the response cache {self.path}: free some, then resume the run"
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return self._corrupt(problem)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"the response cache {self.path} is locked by another process: try again when it has ended"
        return f"the response cache {self.path} cannot be used: {problem}"

    def _corrupt(self, problem: Exception) -> str:
        return (
            f"the response cache {self.path} is damaged ({problem}): delete it (rm '{self.path}'*); "
            "nothing but copies of responses is lost"
        )
