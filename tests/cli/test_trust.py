"""Reading scores runs no code: whatever file a stored run names, no command that reads imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.planted import plant


def test_no_command_that_reads_runs_the_task_file_of_a_run(evalkit: Any, tmp_path: Path) -> None:
    planted = plant(tmp_path)
    store = ("--store", str(planted.store))
    evalkit("show", *store)
    evalkit("show", "--task", "rag", "--json", *store)
    evalkit("show", *planted.runs, *store)
    for form in ("csv", "markdown", "latex"):
        evalkit("show", *planted.runs, "--format", form, *store)
    evalkit("show", "scans-real", "--reliance", *store)
    for run in planted.runs:
        evalkit("show", run, "--json", *store)
        evalkit("show", run, "--sample", "s1", *store)
        evalkit("show", run, "--samples", "--status", "ok", "--at-most", "f1=0", *store)
    evalkit("rag-report", "rag-oracle", *store)
    evalkit("rag-report", "rag-oracle", "--by", "nothing", *store, code=2)
    evalkit("rag-report", "rag-oracle", "--json", *store)
    evalkit("export", "rag-oracle", "scans-real", *store)
    evalkit("cache", "info", *store)
    assert not planted.marker.exists()


def test_an_export_runs_a_folder_of_lm_evals_tasks_only_where_it_is_named(
    evalkit: Any, tmp_path: Path
) -> None:
    planted = plant(tmp_path)
    store = ("--store", str(planted.store))
    refused = evalkit("export", planted.runs[-1], *store, code=2).stderr
    assert f"--include-path {tmp_path / 'trap'}" in refused
    assert not planted.marker.exists()
