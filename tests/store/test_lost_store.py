"""A store whose file is deleted or replaced under a run, and a run whose process is gone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.store import open_store
from evalkit.store.records import RunSpec, SampleRecord
from evalkit.types import Answer, Response, Sample, Status
from tests.store.test_processes import python


def record(number: int) -> SampleRecord:
    sample, answer = Sample(f"d{number}", "q"), Answer(Response(text="a"))
    return SampleRecord(sequence=number, sample=sample, status=Status.OK, answer=answer)


def spec(name: str) -> RunSpec:
    return RunSpec(id=name, task="t", path="p", model="m", model_spec="s", n_expected=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evalkit.db"


def remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def test_a_deleted_store_is_written_again_with_what_was_in_it_and_said(path: Path) -> None:
    with open_store(path) as store:
        store.runs.begin(spec("r"))
        store.samples.write("r", [record(0)])
        remove(path)
        with pytest.raises(
            StoreError, match=f"{path}: the file was deleted .* What was stored before is in {path}"
        ):
            store.samples.write("r", [record(1)])
        store.samples.write("r", [record(2)])
        store.runs.finish("r", "incomplete", {}, 1.0)
    with open_store(path) as store:
        assert store.samples.done("r") == {0, 2}
        assert store.runs.get("r").status == "incomplete"


def test_a_replaced_store_is_left_alone_and_what_was_in_the_old_one_is_beside_it(
    path: Path, tmp_path
) -> None:
    with open_store(tmp_path / "other.db") as other:
        other.runs.begin(spec("of another"))
    with open_store(path) as store:
        store.runs.begin(spec("r"))
        store.samples.write("r", [record(0)])
        remove(path)
        (tmp_path / "other.db").rename(path)
        with pytest.raises(StoreError, match=r"was replaced .* go on there, with --store .*\.saved-"):
            store.runs.heartbeat("r")
        store.samples.write("r", [record(1)])
        saved = Path(store.name)
    with open_store(path) as now, open_store(saved) as old:
        assert [run.id for run in now.runs.find()] == ["of another"]
        assert old.samples.done("r") == {0, 1}


TASK = """
import time
from pathlib import Path
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(str(i), f"q{i}", "yes") for i in range(40)], metrics=[exact_match()])
async def slow(sample, model):
    answer = Answer(await model.generate(sample.input))
    Path("begun").touch()
    while sample.id == "20" and not Path("go").exists():
        time.sleep(0.01)
    return answer
"""


@pytest.fixture
def begun(evalkit, tmp_path) -> subprocess.Popen[str]:
    """A run that waits in the middle, with some samples stored."""
    (tmp_path / "task_slow.py").write_text(TASK)
    process = evalkit.start("run", "task_slow.py", "--model", "baseline:gold", "--window", "4")
    while not (tmp_path / "begun").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def test_a_run_whose_store_was_deleted_ends_with_an_error_and_the_store_is_there(
    evalkit, tmp_path, begun
) -> None:
    remove(tmp_path / ".evalkit" / "evalkit.db")
    (tmp_path / "go").touch()
    out, err = begun.communicate()
    assert begun.returncode == 1, out + err
    assert "the file was deleted during the run" in err
    assert "Scores are stored" not in err
    assert "Traceback" not in err
    (run,) = evalkit.json("show")["runs"]
    evalkit("resume", run["id"])
    assert evalkit.json("show")["runs"][0]["counts"] == {"ok": 40}


def test_a_killed_run_is_interrupted_everywhere_and_can_be_resumed(evalkit, tmp_path, begun) -> None:
    assert evalkit.json("show")["runs"][0]["status"] == "running"
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    (run,) = evalkit.json("show")["runs"]
    assert run["status"] == "interrupted"
    assert "/40 interrupted" in evalkit("show").stdout
    assert f"evalkit resume {run['id']}" in evalkit("show", run["id"]).stderr
    (tmp_path / "go").touch()
    evalkit("resume", run["id"])


def test_a_run_of_another_host_is_running_as_long_as_its_heart_beats(path: Path) -> None:
    with open_store(path) as store:
        store.runs.begin(spec("r"))
        for owner, late_s, status in (("elsewhere:1:1", 0, "running"), ("elsewhere:1:1", 40, "interrupted")):
            with store.database.writing() as connection:
                values = {"owner": owner, "heartbeat": time.time() - late_s}
                connection.execute(sa.text("UPDATE run SET owner = :owner, heartbeat = :heartbeat"), values)
            assert store.runs.get("r").status == status
            assert [run.status for run in store.runs.find()] == [status]


def test_a_run_in_a_container_of_the_same_name_is_told_by_its_heartbeat(path: Path) -> None:
    with open_store(path) as store:
        store.runs.begin(spec("r"))
        owner = f"{os.uname().nodename}/1234:{os.getpid()}:1"  # other process numbers: another container
        with store.database.writing() as connection:
            connection.execute(sa.text("UPDATE run SET owner = :owner"), {"owner": owner})
        assert store.runs.get("r").status == "running"


@pytest.mark.parametrize("stamp", ["0000", "-1", "abc", "2", "0002b", "٢"])
def test_a_store_with_an_unknown_stamp_is_one_message(evalkit, path: Path, stamp: str) -> None:
    open_store(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = ?", (stamp,))
        raw.commit()
    with pytest.raises(StoreError, match=f"not an evalkit store, or was changed by hand.*'{stamp}'"):
        open_store(path)


def test_a_failed_heartbeat_stops_the_run(path: Path) -> None:
    code = """
    import asyncio
    from evalkit.run import runner
    from evalkit.run.session import Session
    from evalkit.util.progress import Silent
    from evalkit import Answer, Sample, task
    from evalkit.collection.items import items_of
    import sqlalchemy as sa

    runner.HEARTBEAT_S = 0.05
    store = open_store(sys.argv[1])

    @task([Sample("1", "q")], metrics=[])
    async def waits(sample, model):
        with store.database.writing() as connection:
            connection.execute(sa.text("UPDATE run SET owner = 'elsewhere:1:1'"))
        await asyncio.sleep(100)

    async def main():
        async with Session(Silent()) as session:
            (item,) = items_of(waits)
            await runner.start(item, "baseline:gold", store, session, runner.Options())

    asyncio.run(main())
    """
    done = python(code, path)
    assert "taken over by another process (elsewhere:1:1)" in done.communicate(timeout=60)[1]
