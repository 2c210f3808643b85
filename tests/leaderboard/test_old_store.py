"""The board draws what an older evalkit stored."""

from __future__ import annotations

from pathlib import Path

from tests.leaderboard.visits import texts, visit
from tests.store.test_old_store import old as old


def test_every_page_draws_the_runs_of_an_old_store(old: Path) -> None:
    board = visit(old, task="fictional_trials", variant="arm=oracle, search=bm25, topics=2")
    assert list(board.dataframe[0].value["model"]) == ["baseline:gold", "baseline:empty"]
    figures = {metric.label: metric.value for metric in visit(old, "rag").metric}
    assert figures["Perfect retrieval adds"] == "+0.000"
    assert "Image reliance" in texts(visit(old, "run", run="20261130-231338-045b6e"))
    page = visit(old, "samples", run="20261130-231338-045b6e", sample="1")
    assert list(page.dataframe[0].value["sample"]) == [f"square-{i}" for i in range(6)]
    assert "Which colour is it?" in texts(page)
