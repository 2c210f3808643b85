"""``?batch=true`` from the command line: kill -9, Ctrl-C and resume; jobs are listed and cancelled."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.batch_server import BatchServer, serve

N = 120
TASK = f"""
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

def samples():
    for i in range({N}):
        yield Sample(str(i), f"question {{i}}", "yes")

@task(samples, metrics=[exact_match()])
async def many(sample, model) -> Answer:
    return Answer(await model.generate(sample.input, max_tokens=2))
"""
PRICES = '[prices."openai:tiny"]\ninput = 1000\noutput = 1000\n'
ONCE = Counter({f"question {i}": 1 for i in range(N)})
VENDORS = {
    "openai": "openai:tiny@{}?batch=true&batch_wait=1",
    "anthropic": "anthropic:tiny@{}?batch=true&batch_wait=1",
    "gemini": "gemini:tiny@{}/v1beta?batch=true&batch_wait=1",
}


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with serve() as server:
        yield server


@pytest.fixture
def arguments(tmp_path: Path, server: BatchServer) -> Callable[..., list[str]]:
    (tmp_path / "task_many.py").write_text(TASK)

    def made(vendor: str = "openai") -> list[str]:
        return ["run", "task_many.py", "--model", VENDORS[vendor].format(server.url)]

    return made


def wait_until(process, condition: Callable[[], object]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def looks(server: BatchServer) -> int:
    return sum(job.looks for job in server.jobs.values())


@pytest.mark.parametrize(
    ("vendor", "cache"), [("openai", "on"), ("openai", "off"), ("anthropic", "on"), ("gemini", "on")]
)
def test_kill_9_and_resume_pick_up_the_running_job(evalkit, server, arguments, vendor, cache) -> None:
    server.held = True
    process = evalkit.start(*arguments(vendor), "--cache", cache)
    wait_until(process, lambda: looks(server))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    server.held = False

    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert (resumed["status"], resumed["counts"]) == ("complete", {"ok": N})
    assert len(server.jobs) == 1
    assert server.paid == ONCE


def test_kill_9_before_the_vendors_reply_finds_the_job_by_its_name(evalkit, server, arguments) -> None:
    server.held, server.hangs_up = True, 1000  # each submission arrives, and its reply never does
    process = evalkit.start(*arguments())
    wait_until(process, lambda: server.jobs)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert "not yet confirmed" in evalkit("batches", "list").stdout
    server.held, server.hangs_up = False, 0

    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert resumed["counts"] == {"ok": N}
    assert len(server.jobs) == 1
    assert server.paid == ONCE


def test_kill_9_while_replies_come_in_loses_none(evalkit, server, arguments) -> None:
    """The job is downloaded again; what was stored before is not asked again."""
    server.breaks_off = 1000
    process = evalkit.start(*arguments())
    wait_until(process, lambda: server.breaks_off < 998)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    server.breaks_off = 0

    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert resumed["counts"] == {"ok": N}
    assert server.paid == ONCE
    assert evalkit.json("batches", "list")["jobs"] == []


def test_ctrl_c_leaves_the_job_running_and_says_how_to_go_on(evalkit, server, arguments) -> None:
    server.held = True
    process = evalkit.start(*arguments())
    wait_until(process, lambda: looks(server) > 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (stored,) = evalkit.json("show")["runs"]
    assert "1 batch job goes on at the vendor: batch_0" in err
    assert f"evalkit resume {stored['id']}" in err
    assert "evalkit batches cancel" in err
    (job,) = evalkit.json("batches", "list")["jobs"]
    assert (job["id"], job["lines"], job["open"]) == ("batch_0", N, N)
    assert job["state"] in ("validating", "in_progress", "finalizing")

    server.held = False
    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert resumed["counts"] == {"ok": N}
    assert server.paid == ONCE
    assert evalkit("batches", "list").stdout.strip() == "No batch job is waited for."


def test_a_job_is_cancelled_by_its_id(evalkit, server, arguments) -> None:
    server.held = True
    process = evalkit.start(*arguments())
    wait_until(process, lambda: looks(server))
    unknown = evalkit("batches", "cancel", "batch_7", code=2)
    assert "no such batch job: 'batch_7'" in unknown.stderr
    assert "batch_0" in unknown.stderr
    evalkit("batches", "cancel", "batch_0")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "was cancelled" in err
    assert not server.paid
    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert resumed["counts"] == {"ok": N}


def test_a_job_that_the_vendor_has_deleted_is_asked_again_once_it_is_forgotten(
    evalkit, server, arguments
) -> None:
    server.held = True
    process = evalkit.start(*arguments())
    wait_until(process, lambda: looks(server))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    server.jobs.clear()
    server.held = False
    stopped = evalkit("resume", "latest", code=1)
    assert "Is the key that of another account or project?" in stopped.stderr
    assert "evalkit batches forget batch_0" in stopped.stderr
    assert "goes on at the vendor" not in stopped.stderr
    assert "evalkit batches forget batch_0" in evalkit("batches", "cancel", "batch_0", code=2).stderr
    assert "forgotten, with 120 lines" in evalkit("batches", "forget", "batch_0").stdout
    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert (resumed["counts"], server.paid) == ({"ok": N}, ONCE)


def test_a_judges_calls_go_by_batch_too(evalkit, server, tmp_path: Path) -> None:
    judged = TASK.replace("sample, model)", "sample, model, judge)").replace(
        "    return Answer(await model.generate(sample.input, max_tokens=2))",
        "    reply = await model.generate(sample.input, max_tokens=2)\n"
        "    await judge.relation([Passage('1', 'The sky is blue.')], reply.text, sample)\n"
        "    return Answer(reply)",
    )
    judge = f"llm:{VENDORS['openai'].format(server.url)}"
    fixture = f"""
from evalkit import Passage, fixture
from evalkit.judge import open_judge

@fixture
async def judge(cache_dir):
    async with open_judge({judge!r}, cache_dir) as judge:
        yield judge
"""
    (tmp_path / "task_many.py").write_text(fixture + judged)
    server.outcome = lambda question, times: ("ok", "yes" if question.startswith("question") else "SUPPORTED")
    evalkit("run", "task_many.py", "--model", VENDORS["anthropic"].format(server.url))
    assert len(server.jobs) == 2
    assert server.chats <= 2  # the probe's


def test_a_batch_above_a_limit_is_not_sent(evalkit, server, arguments, tmp_path: Path) -> None:
    """It is paid as a whole: the limit would be noticed when all is spent."""
    (tmp_path / "evalkit.toml").write_text(PRICES)
    refused = evalkit(*arguments(), "--max-cost", "0.1", code=1)
    assert "120 samples at once would be more than --max-cost 0.1: nothing was sent" in refused.stderr
    assert not server.jobs
    (window,) = re.findall(r"send fewer samples at once: --window (\d+)", refused.stderr)
    (run,) = evalkit.json("resume", "latest", "--window", window, "--max-cost", "0.1", code=130)["runs"]
    assert 0 < run["n"] == sum(server.paid.values()) < N
    refused = evalkit(*arguments(), "--max-tokens", "100", code=1)
    assert "more than --max-tokens 100: nothing was sent" in refused.stderr


def test_at_a_limit_of_cost_the_replies_of_a_submitted_job_are_all_taken(
    evalkit, server, arguments, tmp_path: Path
) -> None:
    (tmp_path / "evalkit.toml").write_text(PRICES)
    (run,) = evalkit.json(*arguments(), "--max-cost", "0.9")["runs"]  # the forecast is 0.5
    assert (run["status"], run["n"], server.paid) == ("complete", N, ONCE)
    assert run["spent"]["model"] == pytest.approx(N * 9 * 1000 / 1e6)
    assert evalkit.json("batches", "list")["jobs"] == []


def test_at_a_limit_of_tokens_what_failed_in_a_job_is_not_asked_again(evalkit, server, arguments) -> None:
    server.outcome = lambda question, times: ("error", 500) if question.endswith("7") else ("ok", "yes")
    (run,) = evalkit.json(*arguments(), "--max-tokens", "700", code=130)["runs"]
    assert run["n"] == N - N // 10
    assert len(server.jobs) == 1
    server.outcome = lambda question, times: ("ok", "yes")
    (resumed,) = evalkit.json("resume", "latest")["runs"]
    assert (resumed["counts"], server.paid) == ({"ok": N}, ONCE)


def test_a_server_without_a_batch_interface_is_named_as_such(evalkit, arguments, scripted) -> None:
    *call, _ = arguments()
    done = evalkit(*call, f"openai:tiny@{scripted.url}?batch=true&batch_wait=0.1", code=1)
    assert "/v1/files answered 404" in done.stderr
    assert "Where the server has no batch interface, leave out batch=true" in done.stderr
    assert "Scores are stored" not in done.stderr
