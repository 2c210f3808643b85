"""The write-ahead log of SQLite, also when several processes create the file at the same moment."""

from __future__ import annotations

import sqlite3
import time

PATIENCE_S = 30.0


def use_wal(connection: sqlite3.Connection) -> None:
    """Switch a database to the write-ahead log, and wait where another process does the same.

    SQLite's own ``busy_timeout`` does not cover this switch. Raises ``sqlite3.OperationalError``.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as problem:
            busy = problem.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
