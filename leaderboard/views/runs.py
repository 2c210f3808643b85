"""Runs: all runs in one table, with a search; chosen ones are opened, or ranked in place of the newest."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from evalkit_leaderboard import data, text
from evalkit_leaderboard.choose import say_no_runs

from evalkit.store.records import Run


def main() -> None:
    """Draw the page."""
    st.title("Runs")
    everything = data.runs(hidden=True)
    if not everything:
        say_no_runs()
        return
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    words = left.text_input(
        "Search",
        key="runs_text",
        bind="query-params",
        placeholder="model, task, label, status",
        type="search",
    )
    hidden = right.toggle("Show hidden", key="runs_hidden", bind="query-params")
    runs = [run for run in everything if (hidden or not run.spec.hidden) and matches(run, words or "")]
    if not runs:
        st.info("No run matches.", icon=":material/filter_alt_off:")
        return
    chosen = [runs[row] for row in table(runs) if row < len(runs)]
    st.caption(f"{len(runs):,} of {len(everything):,} runs. Select rows to open a run or to rank runs.")
    actions(chosen)
    with st.expander("Label or hide runs"):
        st.write("On the command line:")
        named = " ".join(run.id for run in chosen) or "RUN"
        st.code(
            f'evalkit annotate {named} --label "before the new prompt"\nevalkit annotate {named} --hide',
            language=None,
        )


def matches(run: Run, words: str) -> bool:
    """Return whether every word stands in a name of the run, ignoring case."""
    names = f"{run.id} {run.spec.model} {run.spec.task} {run.spec.label} {run.status}".casefold()
    return all(word in names for word in words.casefold().split())


def table(runs: Sequence[Run]) -> list[int]:
    """Draw the runs; return the rows that the reader selected."""
    frame = pd.DataFrame([table_row(run) for run in runs])
    state = st.dataframe(
        frame if frame["label"].any() else frame.drop(columns="label"),
        hide_index=True,
        placeholder="–",
        height=min(38 + 35 * len(runs), 640),
        column_config={
            "model": st.column_config.TextColumn(width="medium"),
            "task": st.column_config.TextColumn(width="medium"),
            "score": st.column_config.NumberColumn(format="%.3f", width=80),
            "samples": st.column_config.TextColumn(width=90),
            "cost": text.dollar_column("cost"),
        },
        on_select="rerun",
        selection_mode="multi-row",
        key="runs-table",
    )
    rows: list[int] = state["selection"]["rows"]
    return rows


def table_row(run: Run) -> dict[str, object]:
    """Return a run as a row of the table."""
    metric = next((info.name for info in run.spec.metrics if info.name in run.metrics), None)
    return {
        "started": text.moment(run.started),
        "model": text.short(run.spec.model, text.IN_TABLE),
        "label": run.spec.label,
        "task": run.spec.task,
        "status": run.status,
        "samples": run.size,
        "metric": metric or "–",
        "score": run.metrics[metric].value if metric else None,
        "cost": run.cost,
        "run": run.id,
    }


def actions(chosen: Sequence[Run]) -> None:
    """Draw what can be done with the chosen runs."""
    with st.container(horizontal=True):
        if st.button("Open the run", disabled=len(chosen) != 1, icon=":material/science:"):
            st.switch_page("views/run.py", query_params={"run": chosen[0].id})
        tasks = {run.spec.task for run in chosen}
        rank = st.button(
            "Rank these runs",
            disabled=len(tasks) != 1,
            icon=":material/leaderboard:",
            help="They stand in the ranking of their task in place of their models' newest runs.",
        )
        if rank:
            st.switch_page("views/leaderboard.py", query_params=data.address(chosen))


main()
