"""``evalkit annotate``: notes of a person beside a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalkit.store import open_store

TASK = """
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

@task([Sample("1", "q", "a")], metrics=[exact_match()])
async def small(sample, model) -> Answer:
    return Answer(await model.generate(sample.input))
"""


def test_a_label_and_a_hidden_run_leave_the_scores_as_they_are(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "task_small.py").write_text(TASK)
    (run,) = evalkit.json("run", "task_small.py", "--model", "baseline:gold")["runs"]
    evalkit("annotate", "latest", "--label", "a wrong prompt", "--hide")
    with open_store(tmp_path / ".evalkit" / "evalkit.db") as store:
        noted = store.runs.get(run["id"])
    assert (noted.spec.label, noted.spec.hidden) == ("a wrong prompt", True)
    assert noted.metrics["exact_match"].value == 1.0
    evalkit("annotate", run["id"], "--unhide")
    refused = evalkit("annotate", "latest", code=2)
    assert "give --label TEXT, --hide or --unhide" in refused.stderr
