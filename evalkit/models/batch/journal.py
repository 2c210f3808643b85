"""The journal of batch jobs: one SQLite file that says which job will answer which request.

A job is written here before it is submitted, so that a run that is killed at any instant finds it again. The
replies stay at the vendor, and then go into the response cache; a line whose reply is there is deleted here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from evalkit.errors import StoreError
from evalkit.util.process import this_process
from evalkit.util.sqlite import use_wal

JOURNAL = "batches.db"  # beside the response cache
_VERSION = 1
# Vendors delete the results of a job after about 30 days.
KEPT_S = 30 * 86_400.0


class Job(Struct, frozen=True):
    """A batch job of the journal.

    ``name`` is evalkit's own, sent along where the vendor keeps names; ``id`` is the vendor's, None until the
    vendor has answered the submission. ``model`` is the model's spec. ``lines`` is the number of its lines,
    ``open`` of those without a reply in the response cache. ``owner`` is the process that
    submitted it; empty once it has given up.
    """

    name: str
    id: str | None
    model: str
    submitted: float
    state: str
    done: int
    lines: int
    open: int
    owner: str


_COLUMNS = (
    "name, id, model, submitted, state, done, lines, "
    "(SELECT count(*) FROM line WHERE line.job = job.name) AS open, owner"
)


class Journal:
    """The jobs in a file that several processes may share. Raises ``StoreError`` if it cannot be used."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        with self._explained():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._open()

    def begin(self, name: str, model: str, keys: Sequence[bytes]) -> set[bytes]:
        """Write a job that is about to be submitted; return the keys of its requests.

        Those that another job holds, which another process has just begun, are not among them. Without any
        there is no job.
        """
        with self._transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO line (key, job) VALUES (?, ?)", [(key, name) for key in keys]
            )
            own = {row[0] for row in db.execute("SELECT key FROM line WHERE job = ?", (name,))}
            if own:
                db.execute(
                    "INSERT INTO job (name, model, submitted, state, done, lines, owner) "
                    "VALUES (?, ?, ?, '', 0, ?, ?)",
                    (name, model, time.time(), len(own), this_process()),
                )
            return own

    def submitted(self, name: str, job: str) -> None:
        """Write the vendor's id of a job."""
        with self._transaction() as db:
            db.execute("UPDATE job SET id = ? WHERE name = ?", (job, name))

    def release(self, name: str) -> None:
        """Write that no process is submitting a job any more."""
        with self._transaction() as db:
            db.execute("UPDATE job SET owner = '' WHERE name = ?", (name,))

    def note(self, name: str, state: str, done: int) -> None:
        """Write the state of a job."""
        with self._transaction() as db:
            db.execute("UPDATE job SET state = ?, done = ? WHERE name = ?", (state, done, name))

    def job_of(self, key: bytes) -> str | None:
        """Return the name of the job that holds a request; None if there is none."""
        with self._explained():
            row = self._db.execute("SELECT job FROM line WHERE key = ?", (key,)).fetchone()
            return row[0] if row else None

    def keys(self, name: str) -> list[bytes]:
        """Return the keys of a job's requests that have no reply yet."""
        with self._explained():
            return [row[0] for row in self._db.execute("SELECT key FROM line WHERE job = ?", (name,))]

    def ids(self) -> set[str]:
        """Return the vendors' ids of all jobs."""
        with self._explained():
            return {row[0] for row in self._db.execute("SELECT id FROM job WHERE id IS NOT NULL")}

    def forget(self, keys: Iterable[bytes]) -> None:
        """Delete lines: their replies are kept elsewhere, or they are to be asked again."""
        with self._transaction() as db:
            db.executemany("DELETE FROM line WHERE key = ?", [(key,) for key in keys])
            db.execute(
                "DELETE FROM job WHERE id IS NOT NULL AND name NOT IN (SELECT job FROM line)",
            )

    def drop(self, name: str) -> None:
        """Delete a job and its lines."""
        with self._transaction() as db:
            db.execute("DELETE FROM line WHERE job = ?", (name,))
            db.execute("DELETE FROM job WHERE name = ?", (name,))

    def job(self, name: str) -> Job | None:
        """Return a job by its name, or by the vendor's id; None if it is not in the journal."""
        with self._explained():
            row = self._db.execute(
                f"SELECT {_COLUMNS} FROM job WHERE name = ? OR id = ?",  # noqa: S608 - a constant
                (name, name),
            ).fetchone()
            return Job(*row) if row else None

    def jobs(self) -> list[Job]:
        """Return all jobs, the oldest first."""
        with self._explained():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM job ORDER BY submitted")  # noqa: S608
            return [Job(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _open(self) -> None:
        db = self._db
        db.execute("PRAGMA busy_timeout = 30000")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreError(f"{self.path} was written by a newer evalkit: update evalkit")
        use_wal(db)
        # A job that is paid for must be in the journal after a power cut too.
        db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            db.execute(
                "CREATE TABLE IF NOT EXISTS job (name TEXT PRIMARY KEY, id TEXT, model TEXT NOT NULL, "
                "submitted REAL NOT NULL, state TEXT NOT NULL, done INTEGER NOT NULL, "
                "lines INTEGER NOT NULL, owner TEXT NOT NULL)"
            )
            db.execute(
                "CREATE TABLE IF NOT EXISTS line (key BLOB PRIMARY KEY, job TEXT NOT NULL) WITHOUT ROWID"
            )
            db.execute("CREATE INDEX IF NOT EXISTS line_of_job ON line (job)")
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("DELETE FROM job WHERE submitted < ?", (time.time() - KEPT_S,))
            db.execute("DELETE FROM line WHERE job NOT IN (SELECT name FROM job)")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn failures of SQLite and of the file system into a ``StoreError`` that says what to do."""
        try:
            yield
        except OSError as problem:
            raise StoreError(f"the journal of batch jobs {self.path}: {problem.strerror}") from None
        except sqlite3.Error as problem:
            raise StoreError(
                f"the journal of batch jobs {self.path} cannot be used: {problem}. If it is damaged, delete "
                "it; jobs that still run are then asked and paid for again"
            ) from None
