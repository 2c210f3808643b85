"""Whoever opens a board only reads: no page runs a file that a stored run names."""

from __future__ import annotations

from pathlib import Path

from tests.leaderboard.visits import texts, visit
from tests.planted import plant


def test_no_page_of_the_board_runs_the_task_file_of_a_run(tmp_path: Path) -> None:
    planted = plant(tmp_path)
    for task in ("rag", "scans", "lm_eval/planted"):
        visit(planted.store, task=task)
    assert "Perfect retrieval adds" in {metric.label for metric in visit(planted.store, "rag").metric}
    for run in planted.runs:
        visit(planted.store, "run", run=run)
        assert "Question" in texts(visit(planted.store, "samples", run=run, sample="1"))
    assert not planted.marker.exists()


def test_the_planted_file_leaves_its_marker_when_it_is_imported(tmp_path: Path) -> None:
    planted = plant(tmp_path)
    exec((tmp_path / "trap" / "task_trap.py").read_text(), {"__name__": "trap"})
    assert planted.marker.exists()
