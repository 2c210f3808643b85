"""Several processes, a killed one, and a disk that fills up: with real processes and SQLite's real errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.store import open_store
from evalkit.store.records import RunSpec, SampleRecord
from evalkit.types import Answer, Response, Sample, Score, Status

PRELUDE = """
import sys
from evalkit.store import open_store
from evalkit.store.records import RunSpec, SampleRecord
from evalkit.types import Answer, Response, Sample, Score, Status

def rows(first, n):
    return [
        SampleRecord(sequence=i, sample=Sample(f"d{i}", "q"), status=Status.OK, scores=(Score("f1", 0.5),),
                     answer=Answer(Response(text="a")))
        for i in range(first, first + n)
    ]

def spec(name):
    return RunSpec(id=name, task="t", path="p", model="m", model_spec="s")

"""


def python(code: str, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_three_processes_make_one_store_and_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    code = """
    with open_store(sys.argv[1]) as store:
        store.runs.begin(spec(sys.argv[2]))
        for first in range(0, 400, 4):
            store.samples.write(sys.argv[2], rows(first, 4))
            store.runs.heartbeat(sys.argv[2])
        store.runs.finish(sys.argv[2], "complete", {}, 1.0)
    """
    writers = [python(code, path, f"run{i}") for i in range(3)]
    for writer in writers:
        out, err = writer.communicate()
        assert writer.returncode == 0, out + err
    with open_store(path) as store:
        assert {run.id: run.n for run in store.runs.find()} == {"run0": 400, "run1": 400, "run2": 400}


def test_what_was_committed_outlives_kill_9_and_the_run_can_be_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    code = """
    store = open_store(sys.argv[1])
    store.runs.begin(spec("r"))
    store.samples.write("r", rows(0, 50))
    print("committed", flush=True)
    sys.stdin.read()
    """
    writer = python(code, path)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "committed\n"
    with open_store(path) as store:
        for clock_set_by_s in (0, 3_600, -7_200):
            with store.database.writing() as connection:
                connection.execute(sa.text(f"UPDATE run SET heartbeat = heartbeat - {clock_set_by_s}"))
            with pytest.raises(StoreError, match=f":{writer.pid}:"):
                store.runs.claim("r")
        writer.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
        assert store.samples.done("r") == set(range(50))
        store.runs.claim("r")  # from one that has ended and that its parent has not asked for
        writer.communicate()
        store.runs.heartbeat("r")
        store.samples.write("r", [SampleRecord(sequence=50, sample=Sample("d50", "q"), status=Status.OK)])
        assert store.samples.counts("r") == {"ok": 51}
        other = python("open_store(sys.argv[1]).runs.heartbeat('r')", path)
        assert "taken over by another process" in other.communicate()[1]


def test_a_run_with_an_old_heartbeat_can_be_taken_over_from_another_host(tmp_path: Path) -> None:
    with open_store(tmp_path / "evalkit.db") as store:
        store.runs.begin(RunSpec(id="r", task="t", path="p", model="m", model_spec="s"))
        with store.database.writing() as connection:
            connection.execute(sa.text("UPDATE run SET owner = 'elsewhere:1:1'"))
        with pytest.raises(StoreError, match="elsewhere"):
            store.runs.claim("r")
        with store.database.writing() as connection:
            connection.execute(sa.text("UPDATE run SET heartbeat = heartbeat - 31"))
        store.runs.claim("r")


def test_a_full_disk_says_so_and_keeps_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "evalkit.db"
    with open_store(path) as store:
        store.runs.begin(RunSpec(id="r", task="t", path="p", model="m", model_spec="s"))
    small = open_store(path)

    def limit(dbapi: object, _record: object) -> None:  # SQLite then fails as on a disk without room
        dbapi.execute("PRAGMA max_page_count=100")  # type: ignore[attr-defined]

    small.database.engine.dispose()
    sa.event.listen(small.database.engine, "connect", limit)
    written = 0
    with pytest.raises(StoreError, match=r"disk is full.*evalkit resume"):
        for i in range(10_000):
            text = "".join(chr(33 + (i * j * j) % 90) for j in range(5000))
            answer = Answer(Response(text=text))
            row = SampleRecord(sequence=i, sample=Sample(f"d{i}", "q"), status=Status.OK, answer=answer)
            small.samples.write("r", [row])
            written += 1
    small.close()
    with open_store(path) as store:
        assert written > 5
        assert store.samples.done("r") == set(range(written))
        store.samples.write("r", [SampleRecord(sequence=written, sample=Sample("x", "q"), status=Status.OK)])


def test_a_directory_that_cannot_be_written_to() -> None:
    code = """
    import os
    open_store(sys.argv[1]).close()
    os.chmod(os.path.dirname(sys.argv[1]), 0o555)
    if os.getuid() == 0:  # permissions do not bind root
        os.setgid(65534)
        os.setuid(65534)
    try:
        open_store(sys.argv[1]).runs.begin(spec("r"))
    except Exception as error:
        print(type(error).__name__, error)
    """
    with tempfile.TemporaryDirectory() as closed:  # pytest's own directories are closed to other users
        out, err = python(code, Path(closed, "evalkit.db")).communicate()
        Path(closed).chmod(0o755)
    assert out.startswith("StoreError"), out + err
    assert "Check the permissions" in out


def test_scores_of_a_large_batch(tmp_path: Path) -> None:
    rows = [
        SampleRecord(
            sequence=i, sample=Sample(f"d{i}", "q"), status=Status.OK, scores=(Score("f1", i / 1e4),)
        )
        for i in range(2345)
    ]
    with open_store(tmp_path / "evalkit.db") as store:
        store.runs.begin(RunSpec(id="r", task="t", path="p", model="m", model_spec="s"))
        store.samples.write("r", rows)
        assert [value for _, _, value in store.samples.scores("r")["f1"]] == [i / 1e4 for i in range(2345)]
