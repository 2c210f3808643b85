"""The charts, checked against Vega-Lite's schema: the pages draw them unchecked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pytest
from altair.utils.schemapi import debug_mode
from evalkit_leaderboard import charts, rag_charts, text
from msgspec.structs import replace

from evalkit.compare.budget import BudgetPoint, Budgets
from evalkit.compare.rag import reports, with_siblings
from evalkit.compare.repeats import RepeatedMetric
from evalkit.store import open_store
from evalkit.store.records import MetricInfo
from evalkit.store.store import Store
from evalkit.types import Estimate


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
    budgets = Budgets(store, run)
    yield charts.budget(budgets.points(), budgets.metrics[0])
    yield charts.overview([row for row in rows if row.rank], task.metrics)
    of_k = {k: _half(0.1) for k in (1, 2, 4)}
    yield charts.by_k("right", RepeatedMetric(of_k, of_k, of_k, None))
    priced = [replace(row, run=replace(row.run, cost=0.01 * n)) for n, row in enumerate(rows, 1)]
    yield charts.against_cost(priced, info)
    (report,) = reports(store, with_siblings(store, run), "rouge1")
    yield rag_charts.differences(report.gains)
    yield rag_charts.causes(report.causes)
    yield rag_charts.curve(report.by_rank, "rank", "rouge1")


def test_every_chart_keeps_to_the_schema_and_is_drawn_as_checked(store: Store) -> None:
    with debug_mode(True):
        checked = [chart.to_dict() for chart in drawn(store)]
    unchecked = [charts.spec(chart) for chart in drawn(store)]
    assert len(checked) == 11
    assert [one.keys() for one in checked] == [one.keys() for one in unchecked]
    assert [rows(one) for one in checked] == [rows(one) for one in unchecked]


def test_a_wide_range_of_tokens_has_round_numbers_on_a_logarithmic_axis() -> None:
    points = [BudgetPoint(n, 0.5, {"right": _half(0.1)}) for n in (30, 900, 8000)]
    x = charts.spec(charts.budget(points, MetricInfo("right")))["layer"][0]["encoding"]["x"]
    assert (x["scale"]["type"], 2000 in x["axis"]["values"]) == ("log", True)
    narrow = charts.spec(charts.budget(points[1:], MetricInfo("right")))["layer"][0]["encoding"]["x"]
    assert "type" not in narrow["scale"]


def test_names_beside_costs_are_not_drawn_over_the_axis(store: Store) -> None:
    task = next(task for task in store.board.tasks() if task.params["arm"] == "retrieved")
    rows = store.board.ranking(task.name, "rouge1")[:3]
    priced = [
        replace(row, run=replace(row.run, cost=cost)) for row, cost in zip(rows, (1, 10, 100), strict=True)
    ]
    drawn = charts.spec(charts.against_cost(priced, task.metrics[1]))
    (lines,) = drawn["datasets"].values()
    assert [line["align"] for line in lines] == ["left", "center", "right"]
    marks = [layer["mark"]["align"] for layer in drawn["layer"] if layer["mark"]["type"] == "text"]
    assert marks == ["left", "center", "right"]
    alike = [replace(row, run=replace(row.run, cost=0.5)) for row in rows]
    (lines,) = charts.spec(charts.against_cost(alike, task.metrics[1]))["datasets"].values()
    assert [line["align"] for line in lines] == ["center"] * 3


def test_long_names_keep_their_ends(store: Store) -> None:
    """Names of checkpoints differ in the end: it must not be what is cut."""
    some = {f"/mnt/shared/projects/biomed/qwen3-8b-sft/checkpoint-{k}000": _half(0.1) for k in range(3)}
    axis = charts.spec(charts.metrics(some))["layer"][0]["encoding"]["y"]["axis"]
    assert axis["labelLimit"] == 0
    assert "length(datum.label) -" in axis["labelExpr"]
    assert text.short("/mnt/shared/projects/biomed/checkpoint-2000", 24) == "/mnt/sha…checkpoint-2000"
    assert len(text.short("x" * 99, 30)) == 30


def test_an_infinite_interval_is_no_exact_point() -> None:
    one = charts.spec(charts.metrics({"length": _half(math.inf)}))
    (line,) = [row for rows in one["datasets"].values() for row in rows]
    assert line["undetermined"]
    assert charts.UNDETERMINED in json.dumps(one["layer"])
    assert text.interval(_half(math.inf)) == "undetermined"


def _half(width: float) -> Estimate:
    return Estimate(0.5, width, (0.5 - width, 0.5 + width), 30)


def rows(made: dict[str, Any]) -> list[Any]:
    """What is drawn."""
    return list(made["datasets"].values())
