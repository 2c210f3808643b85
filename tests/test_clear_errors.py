"""Slips in task files and command lines: each is told with its place, before anything is paid for."""

from __future__ import annotations

import pytest

HEAD = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match
"""
TASK = """
@task(samples, metrics=[exact_match()])
async def one(sample, model):
    return Answer(await model.generate(sample.input))
"""


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (
            "def samples():\n    yield Sample('a', 'q', 'x')\n    raise ValueError(3)\n",
            "task_s.py:7: ",
        ),
        ("def samples():\n    yield Sample(1, 'q', 'x')\n", "the id of sample 1 is 1 (int)"),
        ("def samples():\n    yield Sample('a', 'q', 5)\n", "the target of sample 'a' is 5 (int)"),
    ],
)
def test_samples_that_cannot_be_read(evalkit, samples, said) -> None:
    (evalkit.folder / "task_s.py").write_text(HEAD + "\n" + samples + TASK)
    done = evalkit("run", "task_s.py", "--model", "baseline:gold", code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_task_of_one_name_is_refused(evalkit) -> None:
    text = HEAD + "samples = [Sample('a', 'q', 'x')]\n" + TASK
    (evalkit.folder / "task_s.py").write_text(text + TASK)
    assert (
        "two tasks are called 'one'" in evalkit("run", "task_s.py", "--model", "baseline:gold", code=2).stderr
    )


def test_a_wrong_model_is_told_before_any_run(evalkit) -> None:
    (evalkit.folder / "task_s.py").write_text(HEAD + "samples = [Sample('a', 'q', 'x')]\n" + TASK)
    done = evalkit("run", "task_s.py", "--model", "baseline:gold", "--model", "opnai:x", code=2)
    assert done.stderr.count("Did you mean 'openai'?") == 1
    assert not (evalkit.folder / ".evalkit").exists()


@pytest.mark.parametrize("command", [["show"], ["resume", "latest"], ["leaderboard"]])
def test_what_only_reads_makes_no_store(evalkit, command) -> None:
    assert "there is no store yet" in evalkit(*command, "--store", "typo.db", code=2).stderr
    assert not (evalkit.folder / "typo.db").exists()


def test_a_terminal_without_arrows(evalkit) -> None:
    (evalkit.folder / "task_s.py").write_text(HEAD + "samples = [Sample('a', 'q', 'x')]\n" + TASK)
    evalkit.environment["PYTHONIOENCODING"] = "ascii"
    assert "1.000" in evalkit("run", "task_s.py", "--model", "baseline:gold").stdout


def test_a_run_in_which_no_metric_applies_is_no_success(evalkit) -> None:
    (evalkit.folder / "task_s.py").write_text(
        HEAD + "samples = [Sample('a', 'q'), Sample('b', 'r')]\n" + TASK
    )
    done = evalkit("run", "task_s.py", "--model", "baseline:echo", code=1)
    assert "no metric applies to any sample" in done.stderr
    assert "Sample.target" in done.stderr
