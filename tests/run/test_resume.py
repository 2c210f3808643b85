"""Nothing is lost and nothing is paid twice: kill -9, Ctrl-C, errors, and then resume."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

N = 500
TASK = f"""
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

def samples():
    for i in range({N}):
        yield Sample(str(i), f"question {{i}}", "yes")

@task(samples, metrics=[exact_match()])
async def many(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@pytest.fixture
def run_arguments(tmp_path: Path, scripted) -> list[str]:
    (tmp_path / "task_many.py").write_text(TASK)
    scripted.delay_s = 0.02
    return ["run", "task_many.py", "--model", f"openai:tiny@{scripted.url}", "--max-inflight", "8"]


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def wait_for_answers(scripted, n: int, process: subprocess.Popen[str]) -> None:
    """Until ``n`` are answered. The others take their time: what a test does next comes before the end."""
    wait_until(process, lambda: sum(scripted.answered.values()) >= n)
    scripted.delay_s = 0.2


@pytest.mark.parametrize("cache", ["on", "off"])
def test_kill_9_and_resume_ask_no_completed_request_again(
    evalkit, scripted, run_arguments, tmp_path: Path, cache: str
) -> None:
    process = evalkit.start(*run_arguments, "--cache", cache)
    wait_for_answers(scripted, 180, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    answered_before = set(scripted.answered)
    scripted.delay_s = 0

    (stored,) = evalkit.json("show")["runs"]
    assert stored["status"] in ("running", "interrupted")
    assert stored["n"] < N

    (resumed,) = evalkit.json("resume", stored["id"])["runs"]
    assert resumed["status"] == "complete"
    assert resumed["counts"] == {"ok": N}
    assert resumed["metrics"]["exact_match"]["n"] == N

    # Only what was on its way when the process died may be asked twice: it had 8 requests at the server.
    twice = {question for question, times in scripted.asked.items() if times > 1}
    assert len(scripted.asked) == N
    assert len(twice) <= 8
    assert len(twice & answered_before) <= 8
    with closing(sqlite3.connect(tmp_path / ".evalkit" / "evalkit.db")) as store, store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.execute("SELECT count(*), count(DISTINCT sequence) FROM sample").fetchone() == (N, N)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stores_what_ended_and_prints_how_to_go_on(evalkit, scripted, run_arguments, number) -> None:
    process = evalkit.start(*run_arguments, "--json")
    wait_for_answers(scripted, 100, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (stored,) = evalkit.json("show")["runs"]
    assert f"evalkit resume {stored['id']}" in err
    assert f'"id": "{stored["id"]}"' in out
    assert stored["status"] == "interrupted"
    assert 100 <= stored["n"] < N
    assert stored["metrics"]["exact_match"]["bounds"][0] < 1.0

    scripted.delay_s = 0
    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert resumed["counts"] == {"ok": N}
    assert max(scripted.asked.values()) == 1  # in-flight requests were given time to end


def test_ctrl_c_while_the_server_is_still_silent_ends_at_once(evalkit, run_arguments) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = evalkit.start("run", "task_many.py", "--model", f"openai:tiny@{url}")
        connection, _ = silent.accept()  # the probe is there, and waits
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130
    assert "Interrupted before any sample was asked" in err
    assert evalkit.json("show")["runs"] == []


def test_a_second_ctrl_c_does_not_wait_for_replies(evalkit, scripted, run_arguments) -> None:
    process = evalkit.start(*run_arguments)
    wait_for_answers(scripted, 50, process)
    scripted.held = True
    wait_until(process, lambda: sum(scripted.asked.values()) == sum(scripted.answered.values()) + 8)
    process.send_signal(signal.SIGINT)
    assert "Ctrl-C again stops at once" in next(line for line in process.stderr if line.strip())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (stored,) = evalkit.json("show")["runs"]
    assert f"evalkit resume {stored['id']}" in err
    assert (stored["status"], stored["n"]) == ("interrupted", sum(scripted.answered.values()))


def test_two_processes_do_not_work_on_one_run(evalkit, scripted, run_arguments) -> None:
    process = evalkit.start(*run_arguments, "--json")
    wait_for_answers(scripted, 50, process)
    scripted.held = True
    refused = evalkit("resume", "latest", code=2)
    scripted.held, scripted.delay_s = False, 0
    assert f":{process.pid}:" in refused.stderr
    assert "held by another process" in refused.stderr
    assert "Go on with" not in refused.stderr
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    (run,) = json.loads(out)["runs"]
    assert (run["counts"], max(scripted.asked.values())) == ({"ok": N}, 1)


def test_a_time_limit_stops_the_run_as_ctrl_c_does(evalkit, scripted, run_arguments) -> None:
    scripted.delay_s = 0.2
    stopped = evalkit(*run_arguments, "--time-limit", "3s", code=130)
    assert "The time limit is reached" in stopped.stderr
    (stored,) = evalkit.json("show")["runs"]
    assert f"evalkit resume {stored['id']}" in stopped.stderr
    assert stored["status"] == "interrupted"
    assert 0 < stored["n"] < N
    assert "write it as 90s, 30m or 12h" in evalkit(*run_arguments, "--time-limit", "soon", code=2).stderr


def test_errors_leave_the_run_incomplete_and_resume_asks_only_for_them(
    evalkit, scripted, run_arguments
) -> None:
    scripted.delay_s = 0
    scripted.fault = lambda n: (400, {}, '{"error": {"message": "bad luck"}}') if n % 100 == 0 else None
    (first,) = evalkit.json(*run_arguments, code=1)["runs"]
    assert first["counts"] == {"error": 5, "ok": N - 5}
    assert first["status"] == "incomplete"
    low, high = first["metrics"]["exact_match"]["bounds"]
    assert (low, high) == ((N - 5) / N, 1.0)

    scripted.fault = lambda n: None
    (second,) = evalkit.json("resume", first["id"])["runs"]
    assert (second["status"], second["counts"]) == ("complete", {"ok": N})
    assert sum(scripted.asked.values()) == N + 5


def test_resume_refuses_samples_that_are_no_longer_the_same(
    evalkit, scripted, run_arguments, tmp_path
) -> None:
    scripted.delay_s = 0
    scripted.fault = lambda n: (400, {}, "no") if n == 1 else None
    evalkit(*run_arguments, code=1)
    (tmp_path / "task_many.py").write_text(TASK.replace("question ", "another question "))
    refused = evalkit("resume", "latest", code=2)
    assert "the samples have changed since the run began" in refused.stderr


def test_repeats_are_separate_draws_and_the_cache_serves_a_second_run(
    evalkit, scripted, run_arguments
) -> None:
    scripted.delay_s = 0
    arguments = [*run_arguments, "--limit", "10", "--repeat", "3"]
    (first,) = evalkit.json(*arguments)["runs"]
    assert (first["n"], first["calls_from_cache"]) == (30, 0)
    assert sum(scripted.asked.values()) == 30
    (second,) = evalkit.json(*arguments)["runs"]
    assert (second["n"], second["calls_from_cache"]) == (30, 30)
    (third,) = evalkit.json(*arguments, "--cache", "off")["runs"]
    assert third["calls_from_cache"] == 0
    assert sum(scripted.asked.values()) == 60 + 5, "five cached answers are asked again and compared"


def test_refresh_asks_again_and_only_asks_nobody(evalkit, scripted, run_arguments) -> None:
    scripted.delay_s = 0
    some = [*run_arguments, "--limit", "10"]
    assert "Run it once with --cache on" in evalkit(*some, "--cache", "only", code=2).stderr
    evalkit(*some)
    scripted.reply = lambda question: "no"
    (fresh,) = evalkit.json(*some, "--cache", "refresh")["runs"]
    assert (fresh["calls_from_cache"], fresh["metrics"]["exact_match"]["value"]) == (0, 0.0)
    (later,) = evalkit.json(*some)["runs"]
    assert (later["calls_from_cache"], later["metrics"]["exact_match"]["value"]) == (10, 0.0)

    asked, requests = sum(scripted.asked.values()), scripted.requests
    more = [*run_arguments, "--limit", "12", "--cache", "only"]
    (offline,) = evalkit.json(*more, code=1)["runs"]
    assert (offline["counts"], offline["model"]) == ({"error": 2, "ok": 10}, later["model"])
    assert (sum(scripted.asked.values()), scripted.requests) == (asked, requests)
    (whole,) = evalkit.json("resume", offline["id"], "--cache", "on")["runs"]
    assert (whole["status"], sum(scripted.asked.values())) == ("complete", asked + 2)

    assert evalkit.json("cache", "info")["responses"] > 12
    assert evalkit.json("cache", "clear")["cleared"] > 12
    assert evalkit.json("cache", "info")["responses"] == 0


def test_rescore_needs_no_model_and_takes_the_metrics_as_they_are_now(
    evalkit, scripted, run_arguments, tmp_path: Path
) -> None:
    scripted.delay_s = 0
    scripted.reply = lambda question: "Yes, it is."
    (first,) = evalkit.json(*run_arguments)["runs"]
    assert first["metrics"]["exact_match"]["value"] == 0.0
    asked = sum(scripted.asked.values())
    (tmp_path / "task_many.py").write_text(
        TASK.replace("import exact_match", "import token_f1").replace("exact_match()", "token_f1()")
    )
    (again,) = evalkit.json("rescore", first["id"])["runs"]
    assert again["status"] == "complete"
    # one common token, "yes", of three ("yes it is") against one: F1 = 2·(1/3)·1/(1/3 + 1)
    assert list(again["metrics"]) == ["token_f1"]
    assert again["metrics"]["token_f1"]["value"] == pytest.approx(0.5)
    assert sum(scripted.asked.values()) == asked


def test_repeats_are_drawn_by_seeds_of_their_own_which_are_stored(evalkit, scripted, tmp_path: Path) -> None:
    (tmp_path / "task_many.py").write_text(TASK)
    model = f"openai:tiny@{scripted.url}?seed=7&temperature=1"
    arguments = ["run", "task_many.py", "--model", model, "--limit", "2", "--repeat", "4"]
    evalkit(*arguments)
    assert sorted(body["seed"] for body in scripted.bodies) == [7, 7, 8, 8, 9, 9, 10, 10]
    stored = [evalkit.json("show", "latest", "--sample", f"#{n}")["requests"][0]["seed"] for n in range(4)]
    assert stored == [7, 8, 9, 10]
    assert evalkit.json(*arguments)["runs"][0]["calls_from_cache"] == 8


def test_the_command_that_goes_on_names_the_store_of_the_call(evalkit, tmp_path) -> None:
    (tmp_path / "task_failing.py").write_text(
        "from evalkit import Sample, task\n"
        "from evalkit.errors import ServerFailed\n"
        "from evalkit.metrics import exact_match\n"
        "@task([Sample('1', 'q', 'a')], metrics=[exact_match()])\n"
        "async def failing(sample, model):\n"
        "    raise ServerFailed('away')\n"
    )
    run = ("run", "task_failing.py", "--model", "baseline:gold")
    said = evalkit(*run, "--store", "my scores.db", code=1).stderr
    assert re.search(r"resume \S+ --store 'my scores.db'", said)
    assert "leaderboard --store 'my scores.db'" in said
    assert "--store" not in evalkit(*run, code=1).stderr
