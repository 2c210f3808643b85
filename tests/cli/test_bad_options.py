"""Bad values of options for reasoning models, tools, batches and money: each is refused with its own message.

Those of model parameters alone are in ``tests/models/test_spec.py``, ``test_reasoning.py`` and
``test_headers.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evalkit.cli import cli
from evalkit.errors import UsageError

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample("1", "Question?", "yes")], metrics=[exact_match()])
async def words(sample, model):
    return Answer(await model.generate(sample.input))
"""
GOLD = ("--model", "baseline:gold")
RUN = ("run", "task_words.py", *GOLD)
SERVED = ("run", "task_words.py", "--model")
NOT_SET = "NOT_SET_HERE is not set"
MARKS = "must be two different marks with a comma between them, such as <plan>,</plan>"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "task_words.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RUN, "--max-cost", "0"), "must be a number of US dollars above 0"),
        ((*RUN, "--max-tokens", "-5"), "must be a number of tokens, 1 or more"),
        ((*RUN, "--repeat", "0"), "0 is not in the range x>=1"),
        ((*RUN, "--window", "0"), "0 is not in the range x>=1"),
        (("rescore", "latest", "--reasoning-marks", "<a>"), MARKS),
        (("score", "task_words.py", "file.jsonl", "--reasoning-marks", "<a>,<a>"), MARKS),
        (("import", "folder", "--reasoning-marks", ","), MARKS),
        (("batches", "cancel", "job-1"), "no such batch job: 'job-1'"),
        (("run", "fictional_trials", *GOLD, "-p", "arm=agnt"), "Did you mean 'agent'?"),
        (("run", "fictional_trials", *GOLD, "-p", "searches=many"), "parameter searches='many'"),
        (("run", "fictional_trials[arm=agent]", *GOLD, "-p", "searches=0"), "searches at least once"),
        (("run", "patient_record", *GOLD, "-p", "max_turns=0"), "a conversation has at least one turn"),
        ((*SERVED, "gemini:m@http://127.0.0.1:1?effort=max"), "effort=max"),
        ((*SERVED, "anthropic:m@http://h:1?seed=1"), "has no seed"),
        ((*SERVED, "openai:m@http://h:1?api=responses&seed=1"), "seed"),
        ((*SERVED, "openai:m@http://h:1?header.x=$NOT_SET_HERE"), NOT_SET),
        ((*SERVED, "openai:m@http://h:1?query.key=$NOT_SET_HERE"), NOT_SET),
        ((*SERVED, "openai:m@http://h:1?key_env=NOT_SET_HERE"), NOT_SET),
        ((*SERVED, "openai:m@http://h:1?batch=true", "--max-inflight", "3"), "no effect"),
    ],
)
def test_a_bad_option_has_a_message_of_its_own(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    result: Any = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, UsageError | SystemExit), result.output
    assert said in " ".join(f"{result.output} {result.exception}".split())
