"""The response cache: one SQLite file of responses, keyed by the content of their requests.

All responses that are ``put`` in one turn of the event loop are written in one transaction at the end of that
turn, so that a response survives ``kill -9``. Several processes may share the file. When the file exceeds its
largest size, the oldest entries are deleted.
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
from evalkit.reading.surrogates import whole_values
from evalkit.requests import canonical, describe
from evalkit.types import Request, Response
from evalkit.util.masking import has_secret, mask_value
from evalkit.util.sqlite import use_wal

_VERSION = 4  # of the file's tables
_KEY_VERSION = 1  # of the keys' content: a new version finds no old entry
_EVICTED_SHARE = 0.1  # of the entries, deleted at a time
_COMPRESS_ABOVE = 1024  # bytes
_PLAIN, _ZLIB = b"\x00", b"\x01"


def model_key(identity: Mapping[str, Any]) -> bytes:
    """Return the name under which the cache keeps what it knows of a model."""
    return hashlib.sha256(canonical(identity)).digest()


def request_key(identity: Mapping[str, Any], request: Request, namespace: str = "") -> bytes:
    """Return a response's key, a hash of the model, parameters, messages, image hashes and the repeat."""
    content = {"v": _KEY_VERSION, "model": identity, "request": describe(request), "salt": namespace}
    return hashlib.sha256(canonical(content)).digest()


class Stored(msgspec.Struct, frozen=True):
    """A response of the cache, marked ``from_cache``, and when it was written (epoch seconds)."""

    response: Response
    filed: float


class CacheInfo(msgspec.Struct, frozen=True):
    """The number of responses, the bytes in use, and the first and last time of writing (epoch seconds)."""

    responses: int
    bytes: int
    first: float | None
    last: float | None


class ResponseCache:
    """A file of responses, ``max_bytes`` large at most. Raises ``StoreError`` if the file cannot be used."""

    def __init__(self, path: str | Path, max_bytes: int | None = None) -> None:
        self.path, self._max_bytes = Path(path), max_bytes
        self._decoder = msgspec.msgpack.Decoder(Response)
        self._encoder = msgspec.msgpack.Encoder()
        self._pending: dict[bytes, tuple[bytes, float]] = {}  # values and their times
        self._failure: StoreError | None = None  # of an earlier turn: the next ``put`` or ``close`` raises it
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite's own lock makes one connection safe in several threads.
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except (sqlite3.Error, StoreError):
                self._db.close()
                raise

    def get(self, key: bytes) -> Stored | None:
        """Return the response of a key; None if there is none."""
        if (row := self._pending.get(key)) is None:
            try:
                row = self._db.execute("SELECT value, filed FROM answer WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error as problem:
                raise StoreError(self._explain(problem)) from None
        if row is None:
            return None
        value, filed = row
        with self._explained():
            raw = zlib.decompress(value[1:]) if value[:1] == _ZLIB else value[1:]
            response = msgspec.structs.replace(self._decoder.decode(raw), from_cache=True)
            return Stored(response, filed)

    def newer(self, key: bytes, since: float) -> Response | None:
        """Return the response of a key if it was written after a time (epoch seconds); else None."""
        stored = self.get(key)
        return stored.response if stored and stored.filed >= since else None

    def outdated_before(self, model: bytes) -> float:
        """Return the time before which a model's responses are outdated (epoch seconds); 0 if none are."""
        with self._explained():
            row = self._db.execute("SELECT time FROM outdated WHERE model = ?", (model,)).fetchone()
            return row[0] if row else 0.0

    def set_outdated(self, model: bytes, before: float) -> None:
        """Mark the responses of a model from before a time as those of other weights."""
        with self._explained():
            self._db.execute("INSERT OR REPLACE INTO outdated (model, time) VALUES (?, ?)", (model, before))

    def put(self, key: bytes, response: Response) -> None:
        """Write a response at the end of this turn of the event loop; at once if no event loop runs."""
        if self._failure is not None:
            raise self._failure
        try:
            raw = self._encoder.encode(response)
        except UnicodeEncodeError:  # a plug-in's reply with half an emoji
            raw = self._encoder.encode(whole_values(msgspec.to_builtins(response)))
        if has_secret(raw):
            raw = self._encoder.encode(mask_value(msgspec.msgpack.decode(raw)))
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
        """Write all pending responses in one transaction, and make room if the file is too large."""
        pending, self._pending = self._pending, {}
        if not pending:
            return
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT OR REPLACE INTO answer (key, value, filed) VALUES (?, ?, ?)",
                    [(key, value, filed) for key, (value, filed) in pending.items()],
                )
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:  # a full disk ends the transaction by itself
                    self._db.execute("ROLLBACK")
                raise
            if self._max_bytes is not None and self._used() > self._max_bytes:
                self._make_room(self._max_bytes)

    def info(self) -> CacheInfo:
        """Return how much the cache holds."""
        with self._explained():
            count, first, last = self._db.execute(
                "SELECT count(*), min(filed), max(filed) FROM answer"
            ).fetchone()
            return CacheInfo(count, self._used(), first or None, last or None)

    def clear(self, before: float | None = None) -> int:
        """Delete all responses, or those from before a time (epoch seconds). Return the number deleted."""
        with self._explained():
            deleted = self._db.execute(
                "DELETE FROM answer WHERE filed < ?", (math.inf if before is None else before,)
            ).rowcount
            self._db.execute("VACUUM")
            return deleted

    def _used(self) -> int:
        """Return the bytes of the pages in use; SQLite uses freed pages again before the file grows."""
        size, pages, free = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_size", "page_count", "freelist_count")
        )
        return int(size * (pages - free))

    def _make_room(self, max_bytes: int) -> None:
        """Delete the oldest entries; two processes that do so at the same time delete more than needed."""
        while self._used() > max_bytes:
            count = self._db.execute("SELECT count(*) FROM answer").fetchone()[0]
            deleted = self._db.execute(
                "DELETE FROM answer WHERE id IN (SELECT id FROM answer ORDER BY id LIMIT ?)",
                (math.ceil(count * _EVICTED_SHARE),),
            ).rowcount
            if not deleted:
                return

    def close(self) -> None:
        """Write what is pending and close the file. Raises ``StoreError`` if a write failed."""
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
                f"{_VERSION}): update evalkit, or delete the file, which holds only copies of responses"
            )
        use_wal(db)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -16384")  # in KiB; hashes hit the pages of their index at random
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        if version < _VERSION:
            self._migrate()

    def _migrate(self) -> None:
        """Create this version's tables in one transaction; another process that opens the file waits."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            # Rows are in order of time: new rows lie side by side, and a commit touches few pages.
            db.execute(
                "CREATE TABLE IF NOT EXISTS answer (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
                "value BLOB NOT NULL, filed REAL NOT NULL)"
            )
            # From when on a model has its present weights, where the check found others in older responses.
            db.execute("CREATE TABLE IF NOT EXISTS outdated (model BLOB PRIMARY KEY, time REAL NOT NULL)")
            if columns := [row[1] for row in db.execute("PRAGMA table_info(responses)")]:  # versions 1 and 2
                filed = "filed" if "filed" in columns else "0.0"
                db.execute(
                    f"INSERT OR IGNORE INTO answer (key, value, filed) "  # noqa: S608 - one of two constants
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
        """Turn failures of SQLite and of the file system into a ``StoreError`` that says what to do."""
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
            return f"no space left for the response cache {self.path}: free some space, then resume the run"
        if code == sqlite3.SQLITE_IOERR:
            return (
                f"the disk of the response cache {self.path} can no longer be read or written "
                f"({problem}): repair it, then resume the run"
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return self._corrupt(problem)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"the response cache {self.path} is locked by another process: try again when it has ended"
        return f"the response cache {self.path} cannot be used: {problem}"

    def _corrupt(self, problem: Exception) -> str:
        return (
            f"the response cache {self.path} is damaged ({problem}): delete it (rm '{self.path}'*); "
            "only copies of responses are lost"
        )
