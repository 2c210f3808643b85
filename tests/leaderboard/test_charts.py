"""The charts, checked against Vega-Lite's schema: the pages draw them unchecked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pytest
from altair.utils.schemapi import debug_mode
from evalkit_leaderboard import charts, rag_charts

from evalkit.compare.rag import reports, with_siblings
from evalkit.store import open_store
from evalkit.store.store import Store


@pytest.fixture
def store(filled: Path) -> Iterator[Store]:
    with open_store(filled) as opened:
        yield opened


def drawn(store: Store) -> Iterator[alt.Chart | alt.LayerChart]:
    """One of each kind."""
    task = next(task for task in store.board.tasks() if task.params["arm"] == "retrieved")
    rows, info = store.board.ranking(task.name, "rouge1"), task.metrics[1]
    run = store.runs.get("bor-ret-7f3a")
    yield charts.forest(rows, info)
    yield charts.metrics(run.metrics)
    yield charts.variants({task.name: rows}, info)
    yield charts.statuses(run.counts)
    yield charts.overview([row for row in rows if row.rank], task.metrics)
    (report,) = reports(store, with_siblings(store, run), "rouge1")
    yield rag_charts.differences(report.gains)
    yield rag_charts.causes(report.causes)
    yield rag_charts.curve(report.by_rank, "rank", "rouge1")


def test_every_chart_keeps_to_the_schema_and_is_drawn_as_checked(store: Store) -> None:
    with debug_mode(True):
        checked = [chart.to_dict() for chart in drawn(store)]
    unchecked = [charts.spec(chart) for chart in drawn(store)]
    assert len(checked) == 8
    assert [one.keys() for one in checked] == [one.keys() for one in unchecked]
    assert [rows(one) for one in checked] == [rows(one) for one in unchecked]


def rows(made: dict[str, Any]) -> list[Any]:
    """What is drawn."""
    return list(made["datasets"].values())
