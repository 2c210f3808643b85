"""Intervals of lm-eval's groups, and documents for which a task gives no number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.stats import estimate

PART = """
task: NAME
dataset_path: json
dataset_kwargs:
  data_files: {test: FOLDER/NAME.jsonl}
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
metric_list:
- {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
GROUP = """
group: both
task: [right, wrong]
aggregate_metric_list:
- {metric: exact_match, aggregation: mean, weight_by_size: BY_SIZE}
"""
OWN = """
task: own
dataset_path: json
dataset_kwargs:
  data_files: {test: FOLDER/own.jsonl}
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
process_results: !function own.KIND
metric_list:
- {metric: s, aggregation: mean, higher_is_better: true}
"""
FUNCTIONS = """
def nan(doc, results):
    return {"s": float("nan") if doc["q"] == "1" else 1.0}

def none(doc, results):
    return {"s": None if doc["q"] == "1" else 1.0}
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "yaml"
    folder.mkdir()
    for name, n, wrong in (("right", 6, ""), ("wrong", 2, "not "), ("own", 3, "")):
        rows = ({"q": str(i), "a": f"{wrong}{i}"} for i in range(n))  # an echo of the question is right
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("right", "wrong"):
        (folder / f"{name}.yaml").write_text(PART.replace("NAME", name).replace("FOLDER", str(folder)))
    (folder / "own.py").write_text(FUNCTIONS)
    return folder


@pytest.mark.parametrize(
    ("by_size", "value", "shares"), [("true", 0.75, (0.75, 0.25)), ("false", 0.5, (0.5, 0.5))]
)
def test_a_group_of_a_right_and_a_wrong_part_is_not_certain(
    tasks: Path, evalkit: Any, by_size: str, value: float, shares: tuple[float, float]
) -> None:
    (tasks / "both.yaml").write_text(GROUP.replace("BY_SIZE", by_size))
    arguments = ["run", "lm_eval/both", "--include-path", str(tasks), "--model", "baseline:echo"]
    (run,) = evalkit.json(*arguments)["runs"]
    whole = run["metrics"]["exact_match,none"]
    right, wrong = estimate([1.0] * 6, low=0, high=1), estimate([0.0] * 2, low=0, high=1)
    assert (whole["value"], whole["method"], whole["n"]) == (value, "combined", 8)
    low, high = value - shares[0] * (1 - right.ci[0]), value + shares[1] * wrong.ci[1]
    assert whole["ci"] == pytest.approx([low, high])


@pytest.mark.parametrize("kind", ["nan", "none"])
def test_a_document_without_a_number_is_named_and_leaves_the_run_incomplete(
    tasks: Path, evalkit: Any, kind: str
) -> None:
    text = OWN.replace("FOLDER", str(tasks)).replace("KIND", kind)
    (tasks / "own.yaml").write_text(text)
    arguments = ["run", "lm_eval/own", "--include-path", str(tasks), "--model", "baseline:echo"]
    (run,) = evalkit.json(*arguments, code=1)["runs"]
    assert run["status"] == "incomplete"
    assert run["metrics"]["s,none"]["bounds"] is not None
    assert run["metrics"]["s,none"]["value"] == 1.0
    assert (
        f"the task gave {kind.replace('none', 'None')} as s of document 1 of own"
        in run["unscored"]["s,none"]["error"]
    )
    assert "No score on 1 of 3 samples: s,none" in evalkit("show", run["id"]).stderr
