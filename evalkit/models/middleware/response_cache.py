"""The response cache: what a model said, by the content of what it was asked, in one SQLite file.

What is ``put`` in one turn of the event loop is one transaction, at its end: a response that was received
survives ``kill -9``. Several processes may share the file. With a largest size, what was filed first goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import StoreError
from evalkit.requests import canonical, describe
from evalkit.types import Request, Response
from evalkit.util.sqlite import use_wal

# Of the file; what a key is made of has a version of its own, or old answers would not be found.
_VERSION, _KEY_VERSION = 3, 1
# What makes room: this part of the entries at a time.
_EVICTED = 0.1
_COMPRESS_ABOVE = 1024
_PLAIN, _ZLIB = b"\x00", b"\x01"


def request_key(identity: Mapping[str, Any], request: Request, namespace: str = "") -> bytes:
    """What a response is filed under: the model, every parameter, message, image hash, the repeat index."""
    content = {"v": _KEY_VERSION, "model": identity, "request": describe(request), "salt": namespace}
    return hashlib.sha256(canonical(content)).digest()


class CacheInfo(msgspec.Struct, frozen=True):
    """Responses, bytes in use, and when the first and the last were filed, in seconds of the epoch."""

    responses: int
    bytes: int
    first: float | None
    last: float | None


class ResponseCache:
    """A file of responses, of ``max_bytes`` at most. Raises ``StoreError`` where it cannot be used."""

    def __init__(self, path: str | Path, max_bytes: int | None = None) -> None:
        self.path, self._max_bytes = Path(path), max_bytes
        self._decoder = msgspec.msgpack.Decoder(Response)
        self._encoder = msgspec.msgpack.Encoder()
        self._pending: dict[bytes, tuple[bytes, float]] = {}  # values and when they were put
        self._failure: StoreError | None = None  # of the last turn; whoever comes next hears of it
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite's own lock makes one connection safe in several threads.
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except (sqlite3.Error, StoreError):
                self._db.close()
                raise

    def get(self, key: bytes) -> Response | None:
        """The response filed under ``key``, marked ``from_cache``, or None."""
        with self._explained():
            row = (
                self._pending.get(key)
                or self._db.execute("SELECT value FROM answer WHERE key = ?", (key,)).fetchone()
            )
            if row is None:
                return None
            value: bytes = row[0]
            raw = zlib.decompress(value[1:]) if value[:1] == _ZLIB else value[1:]
            return msgspec.structs.replace(self._decoder.decode(raw), from_cache=True)

    def put(self, key: bytes, response: Response) -> None:
        """File a response: at the end of this turn of the event loop, or at once where none runs."""
        if self._failure is not None:
            raise self._failure
        raw = self._encoder.encode(response)
        value = _ZLIB + zlib.compress(raw, 1) if len(raw) > _COMPRESS_ABOVE else _PLAIN + raw
        self._pending[key] = (value, time.time())
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write()
            return
        if len(self._pending) == 1:
            loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        try:
            self._write()
        except StoreError as problem:
            self._failure = problem

    def _write(self) -> None:
        """All that was put, in one transaction."""
        put, self._pending = self._pending, {}
        if not put:
            return
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT OR REPLACE INTO answer (key, value, filed) VALUES (?, ?, ?)",
                    [(key, value, filed) for key, (value, filed) in put.items()],
                )
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise
            if self._max_bytes is not None and self._used() > self._max_bytes:
                self._make_room(self._max_bytes)

    def info(self) -> CacheInfo:
        """How much it holds."""
        with self._explained():
            count, first, last = self._db.execute(
                "SELECT count(*), min(filed), max(filed) FROM answer"
            ).fetchone()
            return CacheInfo(count, self._used(), first or None, last or None)

    def clear(self, before: float | None = None) -> int:
        """Forget all responses, or those filed before a time in seconds of the epoch; how many those were."""
        with self._explained():
            gone = self._db.execute(
                "DELETE FROM answer WHERE filed < ?", (math.inf if before is None else before,)
            ).rowcount
            self._db.execute("VACUUM")
            return gone

    def _used(self) -> int:
        """Bytes of the pages that hold something; freed ones are used again before the file grows."""
        size, pages, free = (
            self._db.execute(f"PRAGMA {what}").fetchone()[0]
            for what in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (pages - free))

    def _make_room(self, most: int) -> None:
        """Forget what was filed first. Another process may do so at the same moment: then more goes."""
        while self._used() > most:
            count = self._db.execute("SELECT count(*) FROM answer").fetchone()[0]
            gone = self._db.execute(
                "DELETE FROM answer WHERE id IN (SELECT id FROM answer ORDER BY id LIMIT ?)",
                (math.ceil(count * _EVICTED),),
            ).rowcount
            if not gone:
                return

    def close(self) -> None:
        """Close the file. Raises ``StoreError`` where what was put last could not be kept."""
        try:
            self._write()
            if self._failure is not None:
                raise self._failure
        finally:
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
        use_wal(db)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -16384")  # KiB; keys lie anywhere in their index
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        if version < _VERSION:
            self._migrate()

    def _migrate(self) -> None:
        """To the tables of this version, by one process; another one that opens the file waits."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            # What is new comes last, beside what came just before it: a commit touches few pages.
            db.execute(
                "CREATE TABLE IF NOT EXISTS answer (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
                "value BLOB NOT NULL, filed REAL NOT NULL)"
            )
            if columns := [row[1] for row in db.execute("PRAGMA table_info(responses)")]:  # versions 1 and 2
                filed = "filed" if "filed" in columns else "0.0"
                db.execute(
                    f"INSERT OR IGNORE INTO answer (key, value, filed) "  # noqa: S608 - our own two words
                    f"SELECT key, value, {filed} AS filed FROM responses ORDER BY filed"
                )
                db.execute("DROP TABLE responses")
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("COMMIT")
        except sqlite3.Error:
            db.execute("ROLLBACK")
            raise

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
        if code == sqlite3.SQLITE_IOERR:
            return (
                f"the disk of the response cache {self.path} can no longer be written to or read "
                f"({problem}): mend it, then resume the run"
            )
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
