"""Signals to real processes, at moments when it matters: nothing lost, databases sound, resume goes on."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill import check_sound
from evalkit.cli.driver import INTERRUPTED, OK, RunBatch
from evalkit.store.records import RunSpec

N = 200
TASK = f"""
import os
import signal
import time
from pathlib import Path
from evalkit import Answer, Sample, task
from evalkit.metrics import metric

HERE = Path(__file__).parent

def samples():
    for i in range({N}):
        yield Sample(str(i), f"question {{i}}", "yes")

@metric
def slow(sample, answer):
    begun = time.thread_time()
    while time.thread_time() < begun + 0.001:  # enough to be sent to worker processes
        pass
    if (HERE / "die").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while (HERE / "hold").exists():
        time.sleep(0.01)
    return 1.0

@task(samples, metrics=[slow])
async def many(sample, model) -> Answer:
    reply = await model.generate(sample.input)
    while (HERE / "block").exists():
        (HERE / "blocked").touch()
        time.sleep(0.01)
    return Answer(reply)
"""


@pytest.fixture
def arguments(tmp_path: Path, scripted) -> list[str]:
    (tmp_path / "task_many.py").write_text(TASK)
    scripted.delay_s = 0.01
    return ["run", "task_many.py", "--model", f"openai:tiny@{scripted.url}", "--max-inflight", "8"]


def wait_for(process: subprocess.Popen[str], condition) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def wait_for_answers(process: subprocess.Popen[str], scripted, n: int) -> None:
    """Until more than ``n`` are answered. The others take their time: what a test does next comes before
    the end of the run."""
    wait_for(process, lambda: sum(scripted.answered.values()) > n)
    scripted.delay_s = 0.1


def press(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, once the last one has arrived: signals that come at once are one."""
    status = Path(f"/proc/{process.pid}/status")
    while status.exists() and re.search(r"^(Shd|Sig)Pnd:\s*0*[1-9a-f]", status.read_text(), re.MULTILINE):
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert any(words in line for line in process.stderr), process.poll()


def resumed(evalkit, scripted, again: int = 0) -> None:
    """The rest of a run: all there, and no more than ``again`` asked for twice."""
    scripted.delay_s = 0.01
    (run,) = evalkit.json("resume", "latest")["runs"]
    assert (run["status"], run["counts"]) == ("complete", {"ok": N})
    assert (run["metrics"]["slow"]["n"], run["metrics"]["slow"]["value"]) == (N, 1.0)
    assert sum(times - 1 for times in scripted.asked.values()) <= again
    check_sound(evalkit.folder)
    with closing(sqlite3.connect(evalkit.folder / ".evalkit" / "evalkit.db")) as store:
        assert store.execute("SELECT count(*), count(DISTINCT sequence) FROM sample").fetchone() == (N, N)


def test_a_third_ctrl_c_ends_what_the_second_could_not(evalkit, scripted, arguments, tmp_path) -> None:
    (tmp_path / "hold").touch()
    process = evalkit.start(*arguments)
    wait_for_answers(process, scripted, 20)
    process.send_signal(signal.SIGINT)
    read_until(process, "Ctrl-C again stops at once")
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None  # what is being scored holds it
    answered = sum(scripted.answered.values())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    (stored,) = evalkit.json("show")["runs"]
    assert f"Killed; what is stored is safe. Go on with: evalkit resume {stored['id']}" in err
    assert stored["n"] < answered
    (tmp_path / "hold").unlink()
    resumed(evalkit, scripted, again=8)


def test_three_ctrl_c_end_a_task_that_blocks_the_event_loop(evalkit, scripted, arguments, tmp_path) -> None:
    process = evalkit.start(*arguments)
    wait_for_answers(process, scripted, 20)
    (tmp_path / "block").touch()
    wait_for(process, (tmp_path / "blocked").exists)
    for _ in range(3):
        press(process)
    _, err = process.communicate()
    assert (process.returncode, "Killed; what is stored is safe" in err) == (130, True)
    (tmp_path / "block").unlink()
    resumed(evalkit, scripted, again=8)


def test_ctrl_c_of_a_terminal_reaches_the_scoring_processes_too_and_harms_nothing(
    evalkit, scripted, arguments
) -> None:
    scripted.delay_s = 0.1
    process = subprocess.Popen(
        [sys.executable, "-m", "evalkit", *arguments],
        cwd=evalkit.folder,
        env=evalkit.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    wait_for(process, lambda: workers(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    (stored,) = evalkit.json("show")["runs"]
    assert stored["n"] == sum(scripted.answered.values())
    resumed(evalkit, scripted)


def test_scoring_processes_that_are_killed_cost_scores_that_rescore_gives_and_no_reply(
    evalkit, scripted, arguments, tmp_path
) -> None:
    process = evalkit.start(*arguments, "--window", "40")
    wait_for_answers(process, scripted, 60)
    (tmp_path / "die").touch()
    _, err = process.communicate()
    assert process.returncode == 1
    assert "its process was killed (a crash, or no memory) while it scored sample" in err
    assert "Traceback" not in err
    (tmp_path / "die").unlink()
    evalkit("rescore", "latest")
    resumed(evalkit, scripted)


def workers(pid: int) -> int:
    """How many scoring processes a run has."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout.count("spawn_main")


def driven(tmp_path: Path, work: Any, limit: float) -> int:
    """The exit code of ``work`` in a command with a time limit, while a run is open; in a process of its own,
    which the signals are for."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_driven, tmp_path, work, limit).result()


def _driven(tmp_path: Path, work: Any, limit: float) -> int:
    driver = RunBatch(str(tmp_path / "evalkit.db"), False, True, {"time_limit": limit})
    spec = RunSpec(id="r", task="t", path="t", model="m", model_spec="m")
    driver.store.runs.begin(spec)
    driver.open_run = spec
    return driver.main(work)


async def pressed_before_the_limit(driver: RunBatch) -> None:
    signal.raise_signal(signal.SIGINT)
    await driver.stop.wait()
    await asyncio.sleep(1.3)  # the limit comes and goes


async def pressed_after_the_limit(driver: RunBatch) -> None:
    await driver.stop.wait()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(60)


def test_a_time_limit_is_no_second_press(tmp_path: Path) -> None:
    assert driven(tmp_path, pressed_before_the_limit, 1.0) == OK


def test_a_press_after_the_time_limit_is_a_second_one(tmp_path: Path) -> None:
    assert driven(tmp_path, pressed_after_the_limit, 0.1) == INTERRUPTED
