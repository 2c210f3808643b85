"""What SQLite needs of a folder: locks, and the write-ahead log, also when several processes create it."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
import tempfile
import time
from pathlib import Path

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


def lacks_locks(folder: Path) -> bool:
    """Return whether the file system of a folder refuses to lock files; SQLite would wait for it in vain."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # any other error, such as a folder that is read-only, is SQLite's to report
        return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
    return False
