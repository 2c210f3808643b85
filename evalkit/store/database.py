"""The connection to the store: engine, transactions, errors in plain words.

Only this module contains code for one database system.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.util.masking import remember
from evalkit.util.paths import absolute
from evalkit.util.sqlite import lacks_locks, use_wal

PRAGMAS = (
    "PRAGMA busy_timeout=30000",  # ms; first, so that it holds for the others too
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA cache_size=-16384",  # KiB; with 2 MiB, large runs read their index from the disk again and again
)
_SCHEMA_LOCK = 0x6576616C  # any number that other programs do not use
PERMISSIONS = "Check the permissions of the file and of its directory, or name another store with --store"


class Database:
    """An engine on one store, with transactions that raise ``StoreError``."""

    def __init__(self, url: sa.URL) -> None:
        self.open(url)
        self._moving = threading.Lock()

    def open(self, url: sa.URL) -> None:
        """Make the engine for a URL. Raises ``StoreError`` without a driver for it."""
        self.url = url
        self.name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string()
        self._file: tuple[int, int] | None = None
        try:
            # Reuse the last connection: the pages are in its cache already.
            self.engine = sa.create_engine(url, pool_use_lifo=True)
        except (sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(
                f"{url.drivername}: no driver for this database is installed ({error})"
            ) from error
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _connect_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    @property
    def embedded(self) -> bool:
        """Whether the database is a local file, so that a transaction does not wait for a server."""
        return self.engine.dialect.name == "sqlite"

    @property
    def home(self) -> Path:
        """The folder of files beside the store; ``.evalkit`` for a database server."""
        database = self.url.database if self.url.get_backend_name() == "sqlite" else None
        return Path(database).parent if database else absolute(".evalkit")

    def contains(self, column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
        """Return the condition that a column contains a text, ignoring case.

        SQLite's LIKE ignores the case of ASCII letters only, so that other texts are folded first.
        """
        if self.embedded and not text.isascii():
            return sa.func.evalkit_folded(column).contains(text.casefold(), autoescape=True)
        return column.icontains(text, autoescape=True)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction that sees one state of the store."""
        with self._errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that may write; on SQLite it takes the write lock before it reads."""
        self._check_file()
        with self._errors(), self.engine.connect().execution_options(evalkit_write=True) as connection:
            with connection.begin():
                yield connection

    def lock_schema(self, connection: sa.Connection) -> None:
        """Let no other process create or upgrade the tables until this transaction ends."""
        if connection.dialect.name == "postgresql":  # SQLite holds its one write lock already
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")

    def _check_file(self) -> None:
        """Raise ``StoreError`` where the store's file is no longer the one that this process writes to.

        What is in the lost file, which stays open here, is saved into a new one. This object then stands for
        the new file, so that a run can end there.
        """
        if not self.embedded:
            return
        with self._moving:
            now = _identity(self.url.database)
            if self._file is None or now == self._file:
                self._file = now
                return
            what = "replaced" if now else "deleted"
            lost, saved = str(self.url.database), self._save_elsewhere()
        raise StoreError(
            f"{lost}: the file was {what} during the run. What was stored before is in {saved}: go on there, "
            f"with --store {saved}"
            if saved
            else f"{lost}: the file was {what} during the run, with what was stored in it"
        )

    def _save_elsewhere(self) -> str:
        """Copy the lost store through a connection that is still open; open the copy and return its path."""
        path = Path(str(self.url.database))
        saved = path if not path.exists() else path.with_name(f"{path.name}.saved-{os.urandom(3).hex()}")
        lost = self.engine
        if not lost.pool.checkedin():  # type: ignore[attr-defined] # a new connection would open another file
            return ""
        with self._errors(), closing(lost.raw_connection()) as connection:
            connection.cursor().execute("VACUUM INTO ?", (str(saved),))
        lost.dispose()
        self.open(self.url.set(database=str(saved)))
        self._file = _identity(str(saved))
        return str(saved)

    def close(self) -> None:
        """Close all connections; on SQLite, first move the write-ahead log into the file."""
        if self.engine.dialect.name == "sqlite":
            # On a full disk the log stays complete and is moved the next time: nothing is lost.
            with suppress(StoreError), self._errors(), self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self.engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise StoreError(self._explain(str(error.orig))) from error

    def _explain(self, message: str) -> str:
        texts = {
            "disk is full": "the disk is full. What was committed is safe: free some space, then "
            "`evalkit resume RUN` goes on from there",
            "I/O error": "the disk can no longer be written to or read (disk I/O error). What was committed "
            "is safe: repair the disk, then `evalkit resume RUN` goes on from there",
            "not a database": "this file is not an evalkit store. Name another one with --store",
            "malformed": "the file is damaged. `sqlite3 FILE .recover` may save what is in it",
            "readonly": f"the store cannot be written to. {PERMISSIONS}",
            "unable to open": f"the store cannot be opened. {PERMISSIONS}. If its folder is "
            "read-only, copy the store and read the copy",
            "locked": "another process has held the write lock for 30 seconds. Try again when it is done",
        }
        reason = next((text for key, text in texts.items() if key in message), message)
        return f"{self.name}: {reason}"


def _identity(path: str | None) -> tuple[int, int] | None:
    """Return device and inode of a file; None where there is none."""
    try:
        facts = os.stat(path or "")  # noqa: PTH116 - called for each transaction
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def check_url(url: str | Path | None, create: bool) -> sa.URL:
    """Return the store's URL; make the directory of a new SQLite file. Raises ``StoreError``."""
    text = str(url or os.environ.get("EVALKIT_STORE") or Path(".evalkit", "evalkit.db"))
    try:
        parsed = sa.make_url(text) if "://" in text else sa.URL.create("sqlite", database=text)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise StoreError(
            "the store's URL cannot be read; write FILE, sqlite:///FILE or a database URL"
        ) from error
    if parsed.get_backend_name() == "postgres":
        raise StoreError("postgres:// is a URL of other programs; write it as postgresql://")
    if parsed.get_backend_name() != "sqlite":
        remember(str(parsed.password or ""), "the store's password", key=False)
        return parsed
    path = absolute(parsed.database or "")
    if path.is_dir():
        raise StoreError(f"{path}: name the store's file, not a directory: such as {path / 'evalkit.db'}")
    if not create and not path.exists():
        raise StoreError(f"{path}: there is no store yet. `evalkit run TASK --model MODEL` makes one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: its directory cannot be made: {error.strerror}") from error
    if lacks_locks(path.parent):
        raise StoreError(
            f"{path}: the file system does not lock files (a network file system without its lock service?). "
            "Name a store on a local disk with --store, or a database server"
        )
    return parsed.set(database=str(path))


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same columns, with values that the driver takes."""
    _insert(connection, table, rows, missing=False)


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose key is new; rows that exist do not change."""
    _insert(connection, table, rows, missing=True)


def _insert(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], missing: bool
) -> None:
    """Insert rows through the driver: SQLAlchemy's work on each row would take as long as SQLite's."""
    if not rows:
        return
    text, order = _insert_text(table, tuple(rows[0]), missing, connection.dialect)
    values: list[Any] = [tuple(map(row.__getitem__, order)) for row in rows] if order else list(rows)
    connection.exec_driver_sql(text, values)


@cache
def _insert_text(
    table: sa.Table, columns: tuple[str, ...], missing: bool, dialect: sa.Dialect
) -> tuple[str, list[str] | None]:
    """Return the statement, and the order of its values where the driver takes them by position."""
    dialects = import_module(f"sqlalchemy.dialects.{dialect.name}")  # PostgreSQL's takes long to import
    statement = dialects.insert(table).inline()  # returns no ids
    if missing:
        statement = statement.on_conflict_do_nothing()
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), compiled.positiontup


def _connect_sqlite(dbapi: Any, _record: Any) -> None:
    dbapi.isolation_level = None  # transactions are begun by _begin_sqlite, never by the driver
    for pragma in PRAGMAS:
        dbapi.execute(pragma)
    dbapi.create_function("evalkit_folded", 1, lambda text: text and text.casefold(), deterministic=True)
    use_wal(dbapi)


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("evalkit_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
