"""``evalkit new task``: what it writes runs as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def test_the_new_task_runs_and_its_test_passes(evalkit) -> None:
    out = evalkit("new", "task", "blood_sugar", "--dir", "evals").stdout
    assert "run evals/task_blood_sugar.py --model baseline:gold" in out
    runs = evalkit.json("run", "evals", "--model", "baseline:gold", "--model", "baseline:empty")["runs"]
    assert [run["metrics"]["exact_match"]["value"] for run in runs] == [1.0, 0.0]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:asyncio",
        "-W",
        "error",
        "-rA",
        "evals",
        "--evalkit-model",
        "baseline:gold",
    ]
    environment = {**os.environ, "EVALKIT_CACHE": str(evalkit.folder / "cache")}
    done = subprocess.run(
        command, cwd=evalkit.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert "3 passed" in done.stdout, done.stdout
    assert "organ makes insulin" in (evalkit.folder / "evals" / "prompt_blood_sugar.txt").read_text()
    linted = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--select",
            "E,F,W,I,UP,B",
            "--line-length",
            "110",
            "evals",
        ],
        cwd=evalkit.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout


def test_nothing_is_overwritten(evalkit) -> None:
    evalkit("new", "task", "mine")
    (evalkit.folder / "task_mine.py").write_text("# my work")
    assert "task_mine.py is there already" in evalkit("new", "task", "mine", code=2).stderr
    assert (evalkit.folder / "task_mine.py").read_text() == "# my work"


@pytest.mark.parametrize("name", ["two words", "1st", "class", "../x"])
def test_a_name_that_is_none_is_refused(evalkit, name: str) -> None:
    assert "cannot name a task" in evalkit("new", "task", name, code=2).stderr
    assert not list(evalkit.folder.glob("*.py"))
