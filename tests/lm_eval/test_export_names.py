"""``evalkit export`` writes inside its folder, whatever model and task are called."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.lm_eval.export_results import export_run
from evalkit.store import open_store
from evalkit.store.records import MetricInfo, Run, RunSpec, SampleRecord
from evalkit.store.store import Store
from evalkit.types import Answer, Response, Sample, Score, Status

HOSTILE = ["..", ".", "../../up", "/etc/cron.d/x", "a\x00b\nc", "..\\up", "…" * 300, " ", ""]


def stored(store: Store, model: str, task: str) -> Run:
    """One run with one sample."""
    spec = RunSpec(
        id="r1",
        task=task,
        path="t.py",
        model=model,
        model_spec="m",
        metrics=(MetricInfo("f1"),),
        n_expected=1,
    )
    store.runs.begin(spec)
    sample = Sample("s", "q", "yes")
    answer = Answer(Response(text="yes"))
    scores = (Score("f1", 1.0),)
    record = SampleRecord(sequence=0, sample=sample, status=Status.OK, answer=answer, scores=scores)
    store.samples.write("r1", [record])
    store.runs.finish("r1", "complete", {}, 1.0)
    return store.runs.get("r1")


@pytest.mark.parametrize("model", HOSTILE)
@pytest.mark.parametrize("task", ["..", "../../task", "t" * 400])
def test_a_hostile_name_stays_inside_the_folder(tmp_path: Path, model: str, task: str) -> None:
    out = tmp_path / "home" / "out"
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        files = export_run(stored(store, model, task), store, out)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "store.db" not in path.name]
    assert sorted(written) == sorted(files)
    assert all(path.resolve().is_relative_to(out) and path.parent.parent == out for path in files)
    assert not any(re.search(r"[\x00-\x1f]", path.name) for path in files)
    assert json.loads(files[0].read_text())["model_name"] == model


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "small").symlink_to(tmp_path / "elsewhere")
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        run = stored(store, "small", "toy")
        with pytest.raises(UsageError, match=r"small.* is a link to .*elsewhere.*, outside"):
            export_run(run, store, tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())
