"""``evalkit resume`` of a task that has changed since its run began: refused, or marked as mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.servers.scripted import Scripted

TASK = '''
from pathlib import Path
from evalkit import Answer, Sample, metric, task

PROMPT = Path(__file__).with_name("prompt.txt").read_text()

@metric
def right(sample, answer):
    return float(answer.reply == "yes")

@task([Sample(f"s{i}", f"question {i}", "yes") for i in range(12)], metrics=[right])
async def many(sample, model):
    """Ask."""
    return Answer(await model.generate(PROMPT + sample.input, max_tokens=20))
'''


@pytest.fixture
def stopped(evalkit: Any, scripted: Scripted, tmp_path: Path) -> str:
    """The id of a run whose fourth sample failed."""
    (tmp_path / "task_many.py").write_text(TASK)
    (tmp_path / "prompt.txt").write_text("Now: ")
    scripted.fault = lambda n: (400, {}, "no") if n == 4 else None
    (run,) = evalkit.json("run", "task_many.py", "--model", f"openai:tiny@{scripted.url}", code=1)["runs"]
    scripted.fault = lambda n: None
    return str(run["id"])


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "task_many.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("PROMPT + sample.input", '"Think. " + PROMPT + sample.input', "the task code has changed"),
        ('f"question {i}"', 'f"another question {i}"', "the samples have changed"),
        ("metrics=[right])", "metrics=[right], version=2)", "the task's version has changed"),
        ('answer.reply == "yes"', '"yes" in answer.reply', "the code of right has changed"),
    ],
)
def test_a_changed_task_is_refused_with_what_changed(
    stopped: str, evalkit: Any, scripted: Scripted, tmp_path: Path, old: str, new: str, said: str
) -> None:
    edit(tmp_path, old, new)
    before = sum(scripted.asked.values())
    refused = evalkit("resume", stopped, code=2)
    assert f"{said} since the run began" in refused.stderr
    assert "--allow-changed" in refused.stderr
    assert sum(scripted.asked.values()) == before


def test_a_changed_prompt_in_another_file_is_found_without_asking_the_model(
    stopped: str, evalkit: Any, scripted: Scripted, tmp_path: Path
) -> None:
    (tmp_path / "prompt.txt").write_text("Then: ")
    before = sum(scripted.asked.values())
    assert "the prompt has changed since the run began" in evalkit("resume", stopped, code=2).stderr
    assert not any("Then" in question for question in scripted.asked)
    assert sum(scripted.asked.values()) == before


def test_a_comment_is_no_change(stopped: str, evalkit: Any, tmp_path: Path) -> None:
    edit(tmp_path, '"""Ask."""', '"""Ask the model."""  # one question at a time')
    (run,) = evalkit.json("resume", stopped)["runs"]
    assert run["status"] == "complete"
    assert "mixed" not in run


def test_an_allowed_mix_is_marked_and_not_ranked(stopped: str, evalkit: Any, tmp_path: Path) -> None:
    edit(tmp_path, "PROMPT + sample.input", '"Think. " + PROMPT + sample.input')
    (run,) = evalkit.json("resume", stopped, "--allow-changed")["runs"]
    assert (run["status"], run["mixed"]) == ("complete", ["the task code", "the prompt"])
    assert "the task code, the prompt" in evalkit("show", stopped).stdout
    evalkit("run", "task_many.py", "--model", "baseline:gold")
    (difference,) = evalkit.json("show", "latest", stopped)["against_first"]
    assert any("mixes" in text for text in difference["besides_model"])
    assert not difference["significant"]


def test_answers_of_samples_that_moved_cannot_be_mixed(stopped: str, evalkit: Any, tmp_path: Path) -> None:
    edit(tmp_path, "for i in range(12)", "for i in range(11, -1, -1)")
    refused = evalkit("resume", stopped, "--allow-changed", code=2)
    assert "sample 0 of the data set is 's11' now and was 's0'" in refused.stderr
    edit(tmp_path, "for i in range(11, -1, -1)", "for i in range(13)")
    assert "has 13 samples now and had 12" in evalkit("resume", stopped, "--allow-changed", code=2).stderr
