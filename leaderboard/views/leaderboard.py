"""Leaderboard: the models ranked by one metric of a task, with intervals; beside them the runs not ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st
from evalkit_leaderboard import charts, data, text
from evalkit_leaderboard.choose import say_no_runs, warn_unknown

from evalkit.store.board import Row, TaskInfo
from evalkit.store.records import MetricInfo
from evalkit.types import Status
from evalkit.util.spreadsheet import to_csv

FAILURES = [status for status in Status if status is not Status.OK]


def main() -> None:
    """Draw the page."""
    st.title("Leaderboard")
    tasks = data.tasks()
    if not tasks:
        say_no_runs()
        return
    task = choose_task(tasks)
    info = choose_metric(task)
    rows = data.ranking(task.name, info.name)
    ranked = [row for row in rows if _compared(row)]
    headline(rows, ranked, info)
    st.subheader("Models, ranked" if info.higher_is_better is not None else "Models, by name")
    if info.help:
        st.text(info.help)
    if any(row.estimate for row in rows):
        st.vega_lite_chart(charts.spec(charts.forest(rows, info)), width="stretch")
    elif any(row.run.is_complete for row in rows):
        st.info("This metric does not apply to this variant of the task.", icon=":material/info:")
    else:
        st.info(
            "No run of this task has ended yet. The table fills as runs end.", icon=":material/hourglass_top:"
        )
    explain(rows, ranked, info)
    table(rows, info)
    if ranked:
        st.subheader("All metrics")
        st.caption("Complete runs only. The deeper the colour, the better; grey only describes.")
        st.vega_lite_chart(charts.spec(charts.overview(ranked, task.metrics)), width="stretch")
    models = [row.run.spec.model for row in ranked]
    across_variants([other for other in tasks if other.base == task.base], info, models)


def _compared(row: Row) -> bool:
    return row.run.is_complete and row.reason in ("", "descriptive")


def choose_task(tasks: Sequence[TaskInfo]) -> TaskInfo:
    """Let the reader choose the task, and its variant where there are several."""
    bases = list(dict.fromkeys(task.base for task in tasks))
    warn_unknown("task", bases)
    left, right = st.columns([2, 3])
    newest = max(tasks, key=lambda task: task.latest)
    base = left.selectbox("Task", bases, bases.index(newest.base), key="task", bind="query-params")
    variants = {text.variant(task.params, task.name): task for task in tasks if task.base == base}
    if len(variants) == 1:
        return next(iter(variants.values()))
    warn_unknown("variant", list(variants))
    with right:
        names = list(variants)
        main = min(
            range(len(names)), key=lambda i: (variants[names[i]].side_arms, -variants[names[i]].latest)
        )
        chosen = st.selectbox("Variant", names, main, key="variant", bind="query-params")
    return variants[chosen]


def choose_metric(task: TaskInfo) -> MetricInfo:
    """Let the reader choose one of the metrics that a run has, or that the address names."""
    infos = {info.name: info for info in task.metrics}
    warn_unknown("metric", list(infos))
    scored = {name for run in data.runs() if run.spec.task == task.name for name in run.metrics}
    scored.add(st.query_params.get("metric", ""))
    names = [name for name in infos if name in scored] or list(infos)
    name = st.pills("Metric", names, default=names[0], required=True, key="metric", bind="query-params")
    return infos[name or names[0]]


def headline(rows: Sequence[Row], ranked: Sequence[Row], info: MetricInfo) -> None:
    """Draw the main figures."""
    best = ranked[0].estimate if ranked and info.higher_is_better is not None else None
    with st.container(horizontal=True):  # two lines on a phone, where columns would take four
        st.metric("Complete runs", len(ranked), border=True)
        st.metric("Samples in each", f"{ranked[0].run.n:,}" if ranked else "–", border=True)
        st.metric(f"Best {text.escape(info.name)}", text.number(best.value if best else None), border=True)
        st.metric("Not ranked", len(rows) - len(ranked), border=True)


def explain(rows: Sequence[Row], ranked: Sequence[Row], info: MetricInfo) -> None:
    """Explain the marks of the chart."""
    methods = sorted({f"{row.estimate.level:.0%} {row.estimate.method}" for row in ranked if row.estimate})
    parts = [f"Lines: {' / '.join(methods)} intervals."] if methods else []
    if any(row.rank is None and row.estimate for row in rows) and info.higher_is_better is not None:
        parts.append(
            "Hollow and dashed: not ranked, drawn over the bounds between which the score could still lie."
        )
    if parts:
        st.caption(" ".join(parts))


def table(rows: Sequence[Row], info: MetricInfo) -> None:
    """Draw the table of runs; a click on a row opens the run."""
    frame = pd.DataFrame([table_row(row) for row in rows])
    optional = ["bounds", "note", *map(str, FAILURES)]
    shown = frame.drop(columns=[name for name in optional if not frame[name].any()])
    shown["rank"] = ["–" if row.rank is None else str(row.rank) for row in rows]
    shown["n"] = shown["n"].astype("Int64")
    words = [name for name in ("interval", "bounds", "note", "ended") if name in shown]
    shown[words] = shown[words].fillna("")
    config: dict[str, Any] = {
        "rank": st.column_config.TextColumn("#", width=40),
        "model": st.column_config.TextColumn("Model", width="medium"),
        "score": st.column_config.NumberColumn(info.name, format="%.3f"),
        "interval": "Interval",
        "bounds": st.column_config.TextColumn("Bounds", width=120),
        "note": st.column_config.TextColumn("Not ranked because", width="medium"),
        "ended": "Ended",
        "run": "Run",
    }
    state = st.dataframe(
        shown.drop(columns="method"),
        column_config=config,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"ranking-{info.name}",
    )
    csv = to_csv(list(frame.columns), frame.astype(object).where(frame.notna(), None).to_numpy().tolist())
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.caption("Select a row to open its run.")
        st.download_button(
            "CSV", csv, "leaderboard.csv", "text/csv", icon=":material/download:", on_click="ignore"
        )
    if chosen := state["selection"]["rows"]:
        st.switch_page("views/run.py", query_params={"run": rows[chosen[0]].run.id})


def table_row(row: Row) -> dict[str, Any]:
    """Return a run as a row of the table, with plain values."""
    estimate = row.estimate
    bounds = estimate.bounds if estimate else None
    return {
        "rank": row.rank,
        "model": row.run.spec.model,
        "score": estimate.value if estimate else None,
        "interval": text.interval(estimate) if estimate else None,
        "n": estimate.n if estimate else None,
        "bounds": f"[{text.number(bounds[0])}, {text.number(bounds[1])}]" if bounds else None,
        **{str(status): row.run.counts.get(status, 0) for status in FAILURES},
        "note": row.reason if row.reason != "descriptive" and row.reason else None,
        "method": estimate.method if estimate else None,
        "ended": text.moment(row.run.ended) if row.run.ended else None,
        "run": row.run.id,
    }


def across_variants(variants: Sequence[TaskInfo], info: MetricInfo, models: Sequence[str]) -> None:
    """Draw the metric in all variants of the task, for as many of ``models`` as there are colours."""
    few = models[: len(charts.MODEL_COLOURS)]
    having = [task for task in variants if info.name in {metric.name for metric in task.metrics}]
    rows = {text.variant(task.params, task.name): data.ranking(task.name, info.name) for task in having}
    shown = {
        name: [row for row in ranking if row.estimate and _compared(row) and row.run.spec.model in few]
        for name, ranking in rows.items()
    }
    complete = {name: ranking for name, ranking in shown.items() if ranking}
    if len(complete) > 1:
        st.subheader("Across variants")
        left_out = f" The first {len(few)} of {len(models)} models." if len(few) < len(models) else ""
        st.caption(
            "Complete runs. Compare a model with itself from group to group: the questions may differ."
            + left_out
        )
        st.vega_lite_chart(charts.spec(charts.variants(complete, info)), width="stretch")


main()
