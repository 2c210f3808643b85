"""Tasks, metrics, fixtures and files that exit, interrupt or cancel: one error each, and the rest goes on."""

from __future__ import annotations

import pytest

ENDS = {
    "sys.exit(0)": "SystemExit: 0",
    "os._exit(0)": "SystemExit: os._exit(0)",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise asyncio.CancelledError": "CancelledError",
    "raise GeneratorExit": "GeneratorExit",
    "raise StopIteration": "StopIteration",
    "raise BaseException('of its own')": "BaseException: of its own",
    "raise Unreadable": "Unreadable: its message cannot be read",
    "argparse.ArgumentParser().parse_args(['--unknown'])": "SystemExit: 2",
}
TASK = """
import argparse, asyncio, os, sys
from evalkit import Answer, Sample, fixture, task
from evalkit.metrics import exact_match, metric

SAMPLES = [Sample(f"s{i}", f"q{i}", "yes") for i in range(6)]

class Unreadable(Exception):
    def __str__(self):
        sys.exit(0)

def end(sample):
    if sample.id == "s2":
        ENDS

async def end_later(sample):
    await asyncio.sleep(0)
    end(sample)

@metric
def ends(sample, answer):
    end(sample)
    return 1.0

@fixture(scope="sample")
def ending(sample):
    end(sample)
    return ""

@fixture(scope="sample")
async def ending_late(sample):
    yield ""
    end(sample)

async def reply(sample, model):
    return Answer(await model.generate(sample.input))

@task(SAMPLES, metrics=[exact_match()])
async def function(sample, model):
    end(sample)
    return await reply(sample, model)

@task(SAMPLES, metrics=[exact_match()])
async def subtask(sample, model):
    await asyncio.gather(end_later(sample), asyncio.sleep(0))
    return await reply(sample, model)

@task(SAMPLES, metrics=[exact_match()])
async def setup(sample, model, ending):
    return await reply(sample, model)

@task(SAMPLES, metrics=[exact_match()])
async def teardown(sample, model, ending_late):
    return await reply(sample, model)

@task(SAMPLES, metrics=[exact_match(), ends])
async def in_metric(sample, model):
    return await reply(sample, model)

@task(SAMPLES, metrics=[exact_match()])
async def fine(sample, model):
    return await reply(sample, model)
"""


@pytest.mark.parametrize("ends", ENDS)
def test_the_sample_is_an_error_with_its_reason_and_everything_else_is_scored(
    evalkit, tmp_path, ends: str
) -> None:
    (tmp_path / "task_ends.py").write_text(TASK.replace("ENDS", ends))
    document = evalkit.json("run", "task_ends.py", "--model", "baseline:gold", code=1)
    runs = {run["task"]: run for run in document["runs"]}
    assert list(runs) == ["function", "subtask", "setup", "teardown", "in_metric", "fine"]
    assert (runs.pop("fine")["status"], runs["in_metric"]["counts"]) == ("complete", {"ok": 6})
    assert runs.pop("in_metric")["unscored"] == {"ends": {"n": 1, "error": ENDS[ends]}}
    for run in runs.values():
        assert (run["status"], run["counts"]) == ("incomplete", {"error": 1, "ok": 5})
        (error,) = run["errors"].values()
        assert error["n"] == 1
        assert ENDS[ends] in error["error"]  # a coroutine turns StopIteration into a RuntimeError


ONE = "samples = [Sample('1', 'q', 'yes')]\n"
PARTS = {
    "sample source": "def samples():\n    yield Sample('1', 'q', 'yes')\n    {ends}",
    "fixture": ONE + "@fixture\ndef made():\n    {ends}",
    "async fixture": ONE + "@fixture\nasync def made():\n    {ends}\n    yield 1",
    "file": ONE + "{ends}",
}
OTHER = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample("1", "q", "yes")], metrics=[exact_match()])
async def other(sample, model):
    return Answer(await model.generate(sample.input))
"""
AROUND = """
import argparse, asyncio, os, sys
from evalkit import Answer, Sample, fixture, task
from evalkit.metrics import exact_match

class Unreadable(Exception):
    def __str__(self):
        sys.exit(0)

PART

@task(samples, metrics=[exact_match()])
async def broken(sample, modelUSED):
    return Answer(await model.generate(sample.input))
"""


def around(part: str) -> str:
    return AROUND.replace("PART", part).replace("USED", ", made" if "def made" in part else "")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("ends", [*list(ENDS)[:3], "raise GeneratorExit", "raise Unreadable"])
def test_a_file_fixture_or_sample_source_that_ends_is_an_error_and_the_next_task_runs(
    evalkit, tmp_path, ends: str, part: str
) -> None:
    (tmp_path / "task_a.py").write_text(around(PARTS[part].format(ends=ends)))
    (tmp_path / "task_b.py").write_text(OTHER)
    done = evalkit("run", ".", "--model", "baseline:gold", "-q", code=2 if part == "file" else 1)
    assert "Traceback" not in done.stderr
    assert "task_a.py:" in done.stderr
    assert ENDS[ends] in done.stderr
    assert "exact_match" in done.stdout


def test_an_evalconf_that_exits_breaks_only_the_files_below_it(evalkit, tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "evalconf.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "sub" / "task_a.py").write_text(OTHER.replace("other", "below"))
    (tmp_path / "task_b.py").write_text(OTHER)
    done = evalkit("run", ".", "--model", "baseline:gold", "-q", code=2)
    assert "sub/evalconf.py:2: SystemExit: 0" in done.stderr
    assert "other" in done.stdout


def test_a_fixture_that_fails_in_its_teardown_leaves_the_scores_and_fails_the_command(
    evalkit, tmp_path
) -> None:
    for scope in ("session", "task"):
        fixture = f"@fixture(scope={scope!r})\ndef made():\n    yield 1\n    raise ValueError('not closed')"
        (tmp_path / "task_a.py").write_text(around(ONE + fixture))
        done = evalkit("run", "task_a.py", "--model", "baseline:gold", "-q", code=1)
        assert "task_a.py:14: teardown of fixture made: ValueError: not closed" in done.stderr
        assert "exact_match" in done.stdout
        assert "Traceback" not in done.stderr


def test_code_after_yield_runs_also_where_the_run_fails(evalkit, tmp_path) -> None:
    fixture = "@fixture\ndef made():\n    yield 1\n    open('closed', 'w').close()"
    (tmp_path / "task_a.py").write_text(around(ONE + fixture))
    evalkit("run", "task_a.py", "--model", "openai:none@http://127.0.0.1:9", "-q", code=2)
    evalkit("run", "task_a.py", "--model", "baseline:gold", "-q")
    assert (tmp_path / "closed").exists()


AGGREGATE = """
import sys
from evalkit import Answer, Sample, task
from evalkit.metric import Metric
from evalkit.metrics import exact_match

bad = Metric("bad", lambda sample, answer: 1.0, aggregate=lambda values: sys.exit(0))

SAMPLES = [Sample(str(i), "q", "yes", slices={"part": str(i % 2)}) for i in range(4)]

@task(SAMPLES, metrics=[exact_match(), bad])
async def summed(sample, model):
    return Answer(await model.generate(sample.input))
"""


def test_an_aggregate_that_exits_leaves_the_other_metrics(evalkit, tmp_path) -> None:
    (tmp_path / "task_a.py").write_text(AGGREGATE)
    (run,) = evalkit.json("run", "task_a.py", "--model", "baseline:gold", code=1)["runs"]
    assert run["status"] == "incomplete"
    assert list(run["metrics"]) == ["exact_match"]


@pytest.mark.parametrize("value", ["float('nan')", "7.0"])
def test_an_aggregate_outside_of_its_range_is_no_score(evalkit, tmp_path, value: str) -> None:
    (tmp_path / "task_a.py").write_text(AGGREGATE.replace("sys.exit(0)", value))
    (run,) = evalkit.json("run", "task_a.py", "--model", "baseline:gold", code=1)["runs"]
    assert (run["status"], list(run["metrics"])) == ("incomplete", ["exact_match"])


def test_ctrl_c_while_a_task_file_is_imported_ends_with_130(evalkit, tmp_path) -> None:
    (tmp_path / "task_a.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    done = evalkit("run", "task_a.py", "--model", "baseline:gold", "-q", code=130)
    assert (done.stdout, done.stderr.strip()) == ("", "Interrupted.")


KILLS = """
import os, signal
from evalkit import Answer, Sample, task
from evalkit.metric import Metric
from evalkit.metrics import exact_match

def crash(sample, answer):
    if sample.id in CRASH:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0

# with requirements to check, a metric is called in worker processes from the start
crashes = Metric("crashes", crash, check_requirements=lambda: None)

@task([Sample(str(i), f"q{i}", "yes") for i in range(600)], metrics=[exact_match(), crashes])
async def many(sample, model):
    return Answer(await model.generate(sample.input))
"""


def test_a_metric_that_kills_its_process_costs_only_the_scores_that_it_would_have_given(
    evalkit, tmp_path
) -> None:
    (tmp_path / "task_kills.py").write_text(KILLS.replace("CRASH", "('550',)"))
    (run,) = evalkit.json("run", "task_kills.py", "--model", "baseline:gold", code=1)["runs"]
    assert (run["n"], run["counts"], run["status"]) == (600, {"ok": 600}, "incomplete")
    assert list(run["unscored"]) == ["crashes"]
    assert run["unscored"]["crashes"]["n"] == 1
    assert "sample '550'" in run["unscored"]["crashes"]["error"]
    assert (run["metrics"]["exact_match"]["n"], run["metrics"]["crashes"]["n"]) == (600, 599)
    (tmp_path / "task_kills.py").write_text(KILLS.replace("CRASH", "()"))
    evalkit("rescore", run["id"])


def test_a_metric_that_kills_every_process_is_not_called_for_ever(evalkit, tmp_path) -> None:
    (tmp_path / "task_kills.py").write_text(KILLS.replace("CRASH", "map(str, range(300, 600))"))
    (run,) = evalkit.json("run", "task_kills.py", "--model", "baseline:gold", code=1)["runs"]
    scored, failed = run["metrics"]["crashes"]["n"], run["unscored"]["crashes"]["n"]
    assert (run["metrics"]["exact_match"]["n"], scored + failed) == (600, 600)
    assert failed >= 300
