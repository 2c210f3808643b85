"""Commands in unusual places: names in Latin-1, no working directory, a task that changes directory."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit.errors import StoreError
from evalkit.store import open_store

TASK = """
import os
from pathlib import Path
from evalkit import Answer, Sample, fixture, task
from evalkit.metrics import exact_match

@fixture
def moved(cache_dir):
    (cache_dir / "used").touch()
    Path("elsewhere").mkdir(exist_ok=True)
    os.chdir("elsewhere")

@task([Sample(str(i), f"q{i}", "yes") for i in range(4)], metrics=[exact_match()])
async def stays(sample, model):
    return Answer(await model.generate(sample.input))

@task([Sample(str(i), f"q{i}", "yes") for i in range(4)], metrics=[exact_match()])
async def moves(sample, model, moved):
    return Answer(await model.generate(sample.input))
"""
GOLD = ("--model", "baseline:gold", "-q")


@pytest.fixture
def latin(evalkit, tmp_path) -> bytes:
    """A folder whose name is not UTF-8, with a task file and predictions of such a name."""
    (tmp_path / "task_a.py").write_text(TASK)
    folder = os.fsencode(tmp_path) + b"/d\xe9p"
    Path(os.fsdecode(folder)).mkdir()
    Path(os.fsdecode(folder), "task_b.py").write_text(TASK)
    Path(os.fsdecode(folder + b"/pr\xe9d.jsonl")).write_text('{"id": "0", "prediction": "yes"}\n')
    return folder


def test_files_and_folders_whose_names_are_not_utf_8_work(evalkit, latin: bytes) -> None:
    name = os.fsdecode(b"d\xe9p")
    assert "exact_match" in evalkit("run", f"{name}/task_b.py::stays", *GOLD).stdout
    assert "stays" in evalkit("list", name).stdout
    assert evalkit.json("list", name)["tasks"]
    assert len(evalkit.json("show")["runs"]) == 1
    score = ("score", "task_a.py::stays", os.fsdecode(b"d\xe9p/pr\xe9d.jsonl"), "-q")
    assert "no prediction for 3 of 4 samples" in evalkit(*score, code=1).stderr
    evalkit("run", "task_a.py::stays", *GOLD, "--store", f"{name}/s.db")
    assert Path(os.fsdecode(latin), "s.db").exists()


def test_an_argument_that_is_not_utf_8_is_one_message(evalkit, latin: bytes) -> None:
    evalkit("run", "task_a.py::stays", *GOLD)
    assert "No run matches" in evalkit("show", "--model", os.fsdecode(b"\xe9")).stdout
    done = evalkit("show", os.fsdecode(b"\xe9"), code=2)
    assert "holds bytes that are not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list",), 0),
        (("show", "--store", "{store}"), 0),
        (("show", "latest", "--samples", "--store", "{store}"), 0),
        (("show", "latest", "--sample", "0", "--store", "{store}"), 0),
        (("run", "{task}::stays", *GOLD, "--store", "{store}"), 0),
        (("resume", "latest", "--store", "{store}", "-q"), 0),
        (("run", "{task}::stays", *GOLD), 2),
        (("run", "task_a.py", *GOLD), 2),
        (("show",), 2),
    ],
)
def test_in_a_deleted_working_directory_whole_paths_work_and_others_are_one_message(
    evalkit, tmp_path, arguments: tuple[str, ...], code: int
) -> None:
    (tmp_path / "task_a.py").write_text(TASK)
    evalkit("run", "task_a.py::stays", *GOLD)
    names = {"store": tmp_path / ".evalkit" / "evalkit.db", "task": tmp_path / "task_a.py"}
    called = [sys.executable, "-m", "evalkit", *(argument.format(**names) for argument in arguments)]
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *called],
        cwd=tmp_path,
        env=evalkit.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert "deleted" in done.stderr or "no such file" in done.stderr


def test_a_task_that_changes_directory_moves_neither_store_nor_cache_nor_settings(evalkit, tmp_path) -> None:
    (tmp_path / "task_a.py").write_text(TASK)
    (tmp_path / "evalkit.toml").write_text('[models.mine]\nspec = "baseline:gold"\n')
    evalkit.environment["EVALKIT_CACHE"] = "my-cache"
    evalkit("run", "task_a.py::moves", "task_a.py::stays", "--model", "mine", "-q")
    assert len(evalkit.json("show")["runs"]) == 2
    assert (tmp_path / "my-cache" / "used").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_system_without_locks_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(StoreError, match=r"does not lock files.*Name a store on a local disk with --store"):
        open_store(tmp_path / "evalkit.db")
