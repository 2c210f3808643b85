"""``evalkit new``: what it writes runs as it is."""

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


def installed(evalkit, source: str) -> None:
    """Install a written package as pip does, for this test's commands."""
    site = evalkit.folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-build-isolation", "--no-deps", "--target", str(site), str(evalkit.folder / source)]
    subprocess.run(pip, cwd=evalkit.folder, check=True, capture_output=True)
    evalkit.environment["PYTHONPATH"] = str(site)


def passes_its_own_test(evalkit, folder: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:asyncio", "-W", "error", folder]
    done = subprocess.run(
        command, cwd=evalkit.folder, env=evalkit.environment, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout
    ruff = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "E,F,W,UP,B",
        "--line-length",
        "110",
    ]
    linted = subprocess.run([*ruff, folder], cwd=evalkit.folder, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def test_the_new_backend_keeps_the_contract_and_answers_a_task(evalkit) -> None:
    evalkit("new", "backend", "my_server")
    installed(evalkit, "evalkit-my_server")
    passes_its_own_test(evalkit, "evalkit-my_server")
    evalkit("new", "task", "blood_sugar")
    (run,) = evalkit.json("run", "task_blood_sugar.py", "--model", "my_server:one")["runs"]
    assert (run["model"], run["status"], run["counts"]) == ("my_server:one", "complete", {"ok": 3})


def test_the_new_retriever_keeps_the_contract_and_serves_a_rag_task(evalkit) -> None:
    evalkit("new", "retriever", "words")
    installed(evalkit, "evalkit-words")
    passes_its_own_test(evalkit, "evalkit-words")
    arguments = ("-p", "topics=2", "-p", "arm=retrieved", "-p", "search=words")
    (run,) = evalkit.json("run", "fictional_trials", *arguments, "--model", "baseline:extract")["runs"]
    assert run["status"] == "complete"
    assert run["metrics"]["recall@5"]["value"] > 0


def test_nothing_is_overwritten(evalkit) -> None:
    evalkit("new", "task", "mine")
    (evalkit.folder / "task_mine.py").write_text("# my work")
    assert "task_mine.py is there already" in evalkit("new", "task", "mine", code=2).stderr
    assert (evalkit.folder / "task_mine.py").read_text() == "# my work"


@pytest.mark.parametrize("name", ["two words", "1st", "class", "../x"])
def test_a_name_that_is_none_is_refused(evalkit, name: str) -> None:
    assert "cannot name a task" in evalkit("new", "task", name, code=2).stderr
    assert "cannot name a backend" in evalkit("new", "backend", name, code=2).stderr
    assert not list(evalkit.folder.glob("*.py"))
    assert not list(evalkit.folder.glob("evalkit-*"))
