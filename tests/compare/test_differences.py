"""``evalkit show A B``: what is compared as equals, what is named for what it is, what is not compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

TASK = '''
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match, length

@task([Sample(str(i), f"Is {i} even?", "no" if i % 2 else "yes") for i in range(20)], metrics=[exact_match()])
async def even(sample, model, hint: str = ""):
    """Ask."""
    return Answer(await model.generate(hint + sample.input, max_tokens=20))
'''


@pytest.fixture
def run(evalkit: Any, tmp_path: Path) -> Any:
    """Write the task, edited by pairs of old and new text, and run it on a baseline; return the run's id."""

    def made(model: str, *options: str, edits: dict[str, str] | None = None) -> str:
        text = TASK
        for old, new in (edits or {}).items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "task_even.py").write_text(text)
        (done,) = evalkit.json("run", "task_even.py", "--model", f"baseline:{model}", *options)["runs"]
        return str(done["id"])

    return made


def test_a_difference_of_the_models_alone_gets_a_star(run: Any, evalkit: Any) -> None:
    ids = run("empty"), run("gold", edits={'"""Ask."""': '"""Ask."""  # a comment'})
    (one,) = evalkit.json("show", *ids)["against_first"]
    assert (one["besides_model"], one["significant"], one["unpaired"]) == ([], True, 0)
    assert one["p"] < 1e-4
    assert "* The interval excludes 0." in evalkit("show", *ids).stdout


@pytest.mark.parametrize(
    ("edits", "options", "besides"),
    [
        ({"hint + sample.input": '"Think. " + sample.input'}, (), ["the task code", "the prompt"]),
        ({"max_tokens=20": "max_tokens=30"}, (), ["the task code", "max_tokens (20 and 30)"]),
        ({'hint: str = ""': 'hint: str = "So: "'}, (), ["hint", "the task code", "the prompt"]),
        ({}, ("-p", "hint=So: "), ["hint ( and So: )", "the prompt"]),
    ],
)
def test_what_else_differs_is_named_and_takes_the_star_away(
    run: Any, evalkit: Any, edits: dict[str, str], options: tuple[str, ...], besides: list[str]
) -> None:
    edited = run("empty", *options, edits=edits)
    ids = edited, run("gold")
    (one,) = evalkit.json("show", *ids)["against_first"]
    assert one["difference"]["value"] == 1.0
    assert (one["p"], one["significant"]) == (None, False)
    named = {text.partition(" (")[0] for text in one["besides_model"]}
    assert named == {text.partition(" (")[0] for text in besides}
    text = " ".join(evalkit("show", *ids).stdout.split())
    assert "Not a comparison of the models alone: the runs also differ in" in text
    assert "* The interval" not in text


def test_two_prompts_of_one_model_are_said_to_be_that(run: Any, evalkit: Any) -> None:
    ids = run("gold"), run("gold", edits={"hint + sample.input": '"Think. " + sample.input'})
    assert "Runs of one model that differ in the task code; the prompt." in evalkit("show", *ids).stdout


def test_shared_samples_are_paired_and_counted(run: Any, evalkit: Any) -> None:
    ids = run("empty"), run("gold", "--limit", "8")
    (one,) = evalkit.json("show", *ids)["against_first"]
    assert (one["difference"]["n"], one["unpaired"], one["besides_model"]) == (8, 12, [])
    assert (
        "Over the 8 samples of both runs; 12 scores of other samples are left out."
        in evalkit("show", *ids).stdout
    )


def test_samples_of_one_id_with_another_question_are_no_pair(run: Any, evalkit: Any) -> None:
    other = {'f"Is {i} even?"': 'f"Is {i} a prime number?"'}
    ids = run("empty"), run("gold", edits=other)
    found = evalkit.json("show", *ids)
    assert "against_first" not in found
    assert "other samples" in found["not_compared"][0]["reason"]
    some = {'f"Is {i} even?"': 'f"Is {i} even?" if i < 5 else "Other?"'}
    (one,) = evalkit.json("show", ids[0], run("gold", edits=some))["against_first"]
    assert (one["difference"]["n"], one["unpaired"]) == (5, 30)


def test_why_there_is_no_difference_is_said(run: Any, evalkit: Any, tmp_path: Path) -> None:
    first = run("gold")
    (tmp_path / "task_other.py").write_text(TASK.replace("async def even", "async def other"))
    evalkit("run", "task_other.py", "--model", "baseline:gold")
    assert "another task: other, not even" in evalkit("show", first, "latest").stdout


EIGHT = """
from dataclasses import replace
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample(str(i), "Is it?", "yes") for i in range(20)],
      metrics=[replace(exact_match(), name=f"m{n}") for n in range(8)])
async def even(sample, model):
    response = await model.generate(sample.input)
    lost = model.facts.identity["model"] == "empty" and int(sample.id) in (0, 2, 3, 5)
    return Answer(response, text="no" if lost or int(sample.id) % 3 == 1 else "yes")
"""


def test_many_comparisons_share_their_error(evalkit: Any, tmp_path: Path) -> None:
    """Each interval excludes 0, and none does so at 5 % among eight such comparisons."""
    (tmp_path / "task_even.py").write_text(EIGHT)
    runs = evalkit.json("run", "task_even.py", "--model", "baseline:empty", "--model", "baseline:gold")[
        "runs"
    ]
    ids = [run["id"] for run in runs]
    found = evalkit.json("show", *ids)["against_first"]
    assert len(found) == 8
    assert all(0.05 / 8 < one["p"] < 0.05 and one["difference"]["ci"][0] > 0 for one in found)
    assert not any(one["significant"] for one in found)
    shown = " ".join(evalkit("show", *ids).stdout.split())
    assert "at 5 % for all 8 comparisons here together (Holm); each interval is at 95 % alone" in shown
