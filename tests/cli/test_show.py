"""``evalkit show`` as someone uses it who compares models: differences, failures, tables for elsewhere."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from tests.servers.scripted import Scripted, serve

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match, macro_f1

def samples():
    for i in range(40):
        yield Sample(f"case-{i}", f"case {i}?", "yes" if i % 2 else "no")

@task(samples, metrics=[exact_match(), macro_f1(["no", "yes"])])
async def triage(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


def right(question: str) -> str:
    return "yes" if int(question.split()[1].rstrip("?")) % 2 else "no"


@pytest.fixture
def compared(evalkit: Any, scripted: Scripted, tmp_path: Path) -> Any:
    """Two models of one name: the old one says always yes, the new one errs in every tenth case."""
    (tmp_path / "task_triage.py").write_text(TASK)
    with serve() as new:
        new.reply = lambda question: "no" if question.endswith("9?") else right(question)
        old = f"openai:tiny@{scripted.url}?label=old"
        yield evalkit.json(
            "run", "task_triage.py", "--model", old, "--model", f"openai:tiny@{new.url}?label=new"
        )


def test_two_models_are_compared_sample_by_sample(compared: Any, evalkit: Any) -> None:
    assert [run["model"] for run in compared["runs"]] == ["old", "new"]
    (made,) = compared["against_first"]  # F1 is no mean of its samples: pairs tell nothing of it
    assert (made["metric"], made["model"], made["less"]) == ("exact_match", "new", "old")
    assert [made["run"], made["less_run"]] == [run["id"] for run in reversed(compared["runs"])]
    difference = np.array([float(i % 10 != 9) - float(i % 2) for i in range(40)])
    half = t.ppf(0.975, 39) * difference.std(ddof=1) / np.sqrt(40)
    assert made["difference"]["value"] == pytest.approx(difference.mean())
    assert made["difference"]["ci"] == pytest.approx([difference.mean() - half, difference.mean() + half])
    runs = [run["id"] for run in compared["runs"]]
    assert evalkit.json("show", *runs)["against_first"] == [made]
    text = evalkit("show", *runs).stdout
    assert "triage: difference to old, paired by sample" in text
    assert re.search(r"exact_match +0\.400 \[.*\] \*", text)  # far from 0


def test_runs_over_other_samples_are_compared_over_those_that_both_have(compared: Any, evalkit: Any) -> None:
    evalkit("run", "task_triage.py", "--model", "baseline:gold", "--limit", "20")
    (made,) = evalkit.json("show", "latest", compared["runs"][0]["id"])["against_first"]
    assert (made["difference"]["n"], made["unpaired"]) == (20, 20)


def test_two_servers_models_of_one_name_do_not_answer_for_each_other(
    evalkit: Any, scripted: Scripted, tmp_path: Path
) -> None:
    (tmp_path / "task_triage.py").write_text(TASK)
    with serve() as other:
        specs = ["--model", f"openai:tiny@{scripted.url}", "--model", f"openai:tiny@{other.url}"]
        done = evalkit("run", "task_triage.py", *specs, code=2)
        assert "two models are called openai:tiny, at different addresses" in done.stderr
        assert "?label=NAME" in done.stderr
        assert not scripted.asked
        labelled = f"{specs[-1]}?label=other"
        done = evalkit("run", "task_triage.py", *specs[:-1], labelled)
        assert other.asked == scripted.asked != {}
        assert "another address" not in done.stderr
        # In a command of its own nothing tells it from the same model moved: the cache answers, and is named.
        done = evalkit("run", "task_triage.py", "--model", specs[-1])
        assert "40 answers of openai:tiny are from the cache" in done.stderr
        assert "at another address. If it is another model, add ?label=NAME" in done.stderr
        assert sum(other.asked.values()) == 40 + 5, "five cached answers are asked again and compared"


@pytest.mark.parametrize(("width", "lines"), [("80", 2), ("130", 1)])
def test_the_list_breaks_no_word_in_two(compared: Any, evalkit: Any, width: str, lines: int) -> None:
    evalkit.environment["COLUMNS"] = width
    listed = evalkit("show").stdout
    for run in compared["runs"]:
        at = next(i for i, line in enumerate(listed.splitlines()) if run["id"] in line)
        shown = " ".join(listed.splitlines()[at : at + lines])
        low, high = run["metrics"]["exact_match"]["ci"]
        for word in ("triage", run["model"], "40", "exact_match", f"[{low:.3f}, {high:.3f}]"):
            assert word in shown


def test_failures_are_listed(compared: Any, evalkit: Any) -> None:
    new = compared["runs"][1]["id"]
    found = evalkit.json("show", new, "--samples", "--at-most", "exact_match=0")
    assert [row["document"] for row in found["samples"]] == ["case-9", "case-19", "case-29", "case-39"]
    text = evalkit("show", new, "--at-most", "exact_match=0", "--limit", "1").stdout
    assert "#9 case-9  ok  exact_match=0.000\n  case 9?\n  no\n1 of 4 samples that match, of 40." in text
    assert evalkit.json("show", new, "--status", "error", "--status", "empty")["total"] == 0
    assert evalkit.json("show", new, "--samples")["total"] == 40
    refused = evalkit("show", new, "--at-most", "exact_mtch=0", code=2).stderr
    assert "Did you mean 'exact_match'?" in refused
    assert "not a number" in evalkit("show", new, "--at-most", "exact_match=x", code=2).stderr
    assert f"show {new} --samples" in evalkit("show", new, "--sample", "case-99", code=2).stderr


def test_two_views_at_a_time_are_refused(compared: Any, evalkit: Any) -> None:
    for one, other in (
        ("--budget", "--samples"),
        ("--budget", "--reliance"),
        ("--sample=case-1", "--samples"),
    ):
        assert "are different views: ask for one" in evalkit("show", "latest", one, other, code=2).stderr


def test_scores_as_csv_are_those_of_the_json(compared: Any, evalkit: Any) -> None:
    runs = [run["id"] for run in compared["runs"]]
    lines = list(csv.DictReader(io.StringIO(evalkit("show", *runs, "--format", "csv").stdout)))
    assert len(lines) == 4
    for line in lines:
        run = next(run for run in compared["runs"] if run["id"] == line["run"])
        made = run["metrics"][line["metric"]]
        assert [float(line[name]) for name in ("value", "low", "high")] == [made["value"], *made["ci"]]
        tokens = int(line["prompt_tokens"]), int(line["completion_tokens"])
        assert tokens == (run["tokens"]["prompt"], run["tokens"]["completion"])
    assert len(evalkit("show", "--format", "csv").stdout.splitlines()) == 5


def test_a_list_of_samples_as_csv_or_json_has_whole_replies(evalkit: Any, scripted: Scripted) -> None:
    (evalkit.folder / "task_triage.py").write_text(TASK)
    reply = "=1+1, then a long reply; " + "word " * 1000 + "and its end."
    scripted.reply = lambda question: reply
    evalkit("run", "task_triage.py", "--model", f"openai:tiny@{scripted.url}", "--limit", "30")
    lines = list(
        csv.DictReader(io.StringIO(evalkit("show", "latest", "--samples", "--format", "csv").stdout))
    )
    assert [line["reply"] for line in lines] == [f"'{reply}"] * 30, "all samples, and no cell is a formula"
    assert float(lines[0]["exact_match"]) == 0.0
    found = evalkit.json("show", "latest", "--samples")["samples"]
    assert [row["reply"] for row in found] == [reply] * 20
    text = evalkit("show", "latest", "--samples", "--limit", "1").stdout
    assert "and its end." not in text
    assert "Long texts are cut here" in text
    assert (
        "--format csv and --json"
        in evalkit("show", "latest", "--samples", "--format", "latex", code=2).stderr
    )


def test_no_cell_of_the_scores_is_a_formula(evalkit: Any, scripted: Scripted) -> None:
    (evalkit.folder / "task_triage.py").write_text(TASK)
    evalkit("run", "task_triage.py", "--limit", "2", "--model", f"openai:tiny@{scripted.url}?label==cmd|calc")
    text = evalkit("show", "--format", "csv").stdout
    assert next(csv.DictReader(io.StringIO(text)))["model"] == "'=cmd|calc"


def test_scores_as_markdown_and_latex(compared: Any, evalkit: Any) -> None:
    runs = [run["id"] for run in compared["runs"]]
    markdown = evalkit("show", *runs, "--format", "markdown").stdout
    assert "| model | samples | exact_match | macro_f1[no\\|yes] |" in markdown
    assert "| old | 40 | 0.500 [0.352, 0.648] | " in markdown
    latex = evalkit("show", *runs, "--format", "latex").stdout
    assert "model & samples & exact\\_match & macro\\_f1[no|yes] \\\\" in latex
    assert "old & 40 & 0.500 [0.352, 0.648] & " in latex


def test_the_bounds_of_an_incomplete_run_are_called_so(
    evalkit: Any, scripted: Scripted, tmp_path: Path
) -> None:
    (tmp_path / "task_triage.py").write_text(TASK)
    scripted.fault = lambda n: (400, {}, json.dumps({"error": {"message": "no"}})) if n % 4 == 0 else None
    evalkit("run", "task_triage.py", "--model", f"openai:tiny@{scripted.url}", code=1)
    line = next(csv.DictReader(io.StringIO(evalkit("show", "latest", "--format", "csv").stdout)))
    assert (line["status"], line["method"], line["errors"]) == ("incomplete", "bounds", "10")
    found = evalkit.json("show", "latest", "--status", "error")
    assert found["total"] == 10
    assert "400" in found["samples"][0]["error"]
