"""The journal of batch jobs: what it keeps, and what it says when its file cannot be used."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from evalkit.errors import StoreError
from evalkit.models.batch.journal import KEPT_S, Journal


@pytest.fixture
def journal(tmp_path: Path):
    journal = Journal(tmp_path / "batches.db")
    yield journal
    journal.close()


def test_a_job_is_there_until_all_its_replies_are_kept_elsewhere(journal, tmp_path: Path) -> None:
    journal.begin("evalkit-1", "openai:tiny?batch=true", [b"a", b"b"])
    other = Journal(tmp_path / "batches.db")  # as another process sees it
    assert other.job_of(b"a") == "evalkit-1"
    job = other.job("evalkit-1")
    assert (job.id, job.lines, job.open) == (None, 2, 2)

    journal.submitted("evalkit-1", "batch_1")
    journal.note("evalkit-1", "in_progress", 1)
    assert other.ids() == {"batch_1"}
    job = other.job("batch_1")
    assert (job.name, job.state, job.done) == ("evalkit-1", "in_progress", 1)

    journal.forget([b"a"])
    assert other.job_of(b"a") is None
    assert other.keys("evalkit-1") == [b"b"]
    journal.forget([b"b"])
    assert other.jobs() == []
    other.close()


def test_a_request_is_in_one_job_until_it_is_forgotten(journal) -> None:
    assert journal.begin("evalkit-1", "m", [b"a", b"b"]) == {b"a", b"b"}
    assert journal.begin("evalkit-2", "m", [b"b", b"c"]) == {b"c"}
    assert journal.begin("evalkit-3", "m", [b"a"]) == set()
    assert [(job.name, job.lines) for job in journal.jobs()] == [("evalkit-1", 2), ("evalkit-2", 1)]
    journal.forget([b"b"])
    journal.begin("evalkit-4", "m", [b"b"])
    assert (journal.job_of(b"a"), journal.job_of(b"b")) == ("evalkit-1", "evalkit-4")


def test_jobs_whose_results_the_vendor_has_deleted_are_forgotten(journal, tmp_path: Path) -> None:
    journal.begin("evalkit-1", "m", [b"a"])
    with sqlite3.connect(tmp_path / "batches.db") as db:
        db.execute("UPDATE job SET submitted = ?", (time.time() - KEPT_S - 1,))
    db.close()
    other = Journal(tmp_path / "batches.db")
    assert (other.jobs(), other.job_of(b"a")) == ([], None)
    other.close()


def test_a_damaged_file_and_a_newer_one_are_errors_that_say_what_to_do(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="paid for again"):
        Journal(broken)
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match="newer evalkit"):
        Journal(tmp_path / "newer.db")
