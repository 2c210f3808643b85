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

FEW = 25  # models that the charts draw at once, and that need no search
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
    rows = data.ranking(task.name, info.name, chosen_runs())
    ranked = [row for row in rows if _compared(row)]
    headline(rows, ranked, info)
    st.subheader("Models, ranked" if info.higher_is_better is not None else "Models, by name")
    if info.help:
        st.text(info.help)
    rows = choose_models(rows)
    drawn = rows[: most_drawn(rows)]
    if any(row.estimate for row in drawn):
        st.vega_lite_chart(charts.spec(charts.forest(drawn, info)), width="stretch")
    else:
        say_no_estimate(rows)
    explain(rows, ranked, info)
    table(rows, info)
    if complete := [row for row in drawn if _compared(row)]:
        st.subheader("All metrics")
        st.caption("Complete runs only. The deeper the colour, the better; grey only describes.")
        st.vega_lite_chart(charts.spec(charts.overview(complete, task.metrics)), width="stretch")
        against_cost(complete, info)
    models = [row.run.spec.model for row in ranked]
    across_variants([other for other in tasks if other.base == task.base], info, models)


def _compared(row: Row) -> bool:
    return row.run.is_complete and row.reason in ("", "descriptive")


def chosen_runs() -> tuple[str, ...]:
    """Return the runs that the address names, to be ranked in place of their models' newest ones."""
    named = tuple(filter(None, st.query_params.get("runs", "").split(",")))
    if named:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(
                f"{len(named)} chosen runs stand in place of their models' newest.",
                icon=":material/push_pin:",
            )
            if st.button("Rank the newest runs"):
                del st.query_params["runs"]
                st.rerun()
    return named


def choose_models(rows: Sequence[Row]) -> list[Row]:
    """Let the reader search among many models."""
    if len(rows) <= FEW:
        return list(rows)
    words = st.text_input(
        "Search models", key="models", bind="query-params", placeholder=f"among {len(rows):,}", type="search"
    )
    wanted = (words or "").casefold().split()
    return [row for row in rows if all(word in row.run.spec.model.casefold() for word in wanted)]


def most_drawn(rows: Sequence[Row]) -> int:
    """Return how many models the charts draw; with many, the reader chooses."""
    if len(rows) <= FEW:
        return len(rows)
    first, everything = f"the first {FEW}", f"all {len(rows):,}"
    options = {"default": first, "required": True, "label_visibility": "collapsed"}
    shown = st.segmented_control("Draw", [first, everything], **options)  # type: ignore[call-overload]
    return len(rows) if shown == everything else FEW


def say_no_estimate(rows: Sequence[Row]) -> None:
    """Say why there is nothing to draw."""
    runs = [row.run for row in rows]
    if not runs:
        st.info("No model matches the search.", icon=":material/filter_alt_off:")
    elif any(run.is_complete for run in runs):
        st.info("This metric does not apply to this variant of the task.", icon=":material/info:")
    elif all(run.status == "running" for run in runs):
        st.info(
            "No run of this task has ended yet. The table fills as runs end.", icon=":material/hourglass_top:"
        )
    else:
        failed = sum(run.counts.get(Status.ERROR, 0) for run in runs)
        st.warning(
            f"No sample of these runs has a score: {failed:,} of {sum(run.n for run in runs):,} failed. "
            "Open a run below to see why.",
            icon=":material/error:",
        )


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


def against_cost(rows: Sequence[Row], info: MetricInfo) -> None:
    """Draw the score against the cost, where two models have one."""
    priced = [row for row in rows if row.estimate and row.run.cost and not row.run.calls_from_cache]
    if len(priced) < 2:
        return
    st.subheader("Score against cost")
    st.caption(
        "What all samples cost together. Left out: unknown prices, and runs with answers of the cache."
    )
    st.vega_lite_chart(charts.spec(charts.against_cost(priced, info)), width="stretch")


def explain(rows: Sequence[Row], ranked: Sequence[Row], info: MetricInfo) -> None:
    """Explain the marks of the chart."""
    methods = sorted({f"{row.estimate.level:.0%} {row.estimate.method}" for row in ranked if row.estimate})
    parts = [f"Lines: {' / '.join(methods)} intervals."] if methods else []
    if any(row.rank is None and row.estimate for row in rows) and info.higher_is_better is not None:
        parts.append("Hollow and dashed: not ranked.")
    if any(row.estimate and row.estimate.bounds for row in rows):
        parts.append("An incomplete run has a line over the bounds between which its score could still lie.")
    if parts:
        st.caption(" ".join(parts))


def table(rows: Sequence[Row], info: MetricInfo) -> None:
    """Draw the table of runs; a click on a row opens the run."""
    if not rows:
        return
    frame = pd.DataFrame([table_row(row) for row in rows])
    optional = ["label", "bounds", "note", "cost", "judge_cost", *map(str, FAILURES)]
    shown = frame.drop(columns=[name for name in optional if not frame[name].any()])
    shown["rank"] = ["–" if row.rank is None else str(row.rank) for row in rows]
    shown["n"] = shown["n"].astype("Int64")
    shown["model"] = [text.short(name, text.IN_TABLE) for name in shown["model"]]
    words = [name for name in ("label", "interval", "bounds", "note", "ended") if name in shown]
    shown[words] = shown[words].fillna("")
    config: dict[str, Any] = {
        "rank": st.column_config.TextColumn("#", width=40),
        "model": st.column_config.TextColumn("Model", width="medium"),
        "label": "Label",
        "score": st.column_config.NumberColumn(info.name, format="%.3f"),
        "interval": "Interval",
        "bounds": st.column_config.TextColumn("Bounds", width=120),
        "note": st.column_config.TextColumn("Not ranked because", width=330),
        "cost": text.dollar_column("Cost"),
        "judge_cost": text.dollar_column("Judge"),
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
        placeholder="–",
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
        "label": row.run.spec.label or None,
        "score": estimate.value if estimate else None,
        "interval": text.interval(estimate) if estimate else None,
        "n": estimate.n if estimate else None,
        "bounds": f"[{text.number(bounds[0])}, {text.number(bounds[1])}]" if bounds else None,
        **{str(status): row.run.counts.get(status, 0) for status in FAILURES},
        "note": row.reason if row.reason != "descriptive" and row.reason else None,
        "method": estimate.method if estimate else None,
        "cost": row.run.cost,
        "judge_cost": row.run.judge_cost,
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
