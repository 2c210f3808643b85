"""Samples: the list with its filters, and all of one sample. ``?run=…&sample=…`` opens a sample directly."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from evalkit_leaderboard import data, detail
from evalkit_leaderboard.choose import choose_run

from evalkit.errors import StoreError
from evalkit.store.board import Page
from evalkit.store.records import Run
from evalkit.types import Status
from evalkit.util.spreadsheet import to_csv

PAGE = 50
ANY = "any"
CSV_ROWS = 100_000
AS_RUN = "as run"
ORDERS = {AS_RUN: "sequence", "lowest first": "lowest", "highest first": "highest"}
# On a phone the columns stand below each other, with the chosen sample above the list, and all filters fold.
ON_A_PHONE = """<style>@media (max-width: 640px) {
  .stColumn:has(.st-key-chosen-sample) { order: -1; }
  .st-key-filters:has(details:not([open])) .st-key-status-and-text { display: none; }
}</style>"""


def main() -> None:
    """Draw the page."""
    st.title("Samples")
    run = choose_run()
    if run is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"{run.spec.model} on {run.spec.task}")
        st.page_link(
            "views/run.py", label="To the run", icon=":material/science:", query_params={"run": run.id}
        )
    filters = choose_filters(run)
    sequence = chosen_sequence(run)
    st.html(ON_A_PHONE)
    if sequence is None:
        st.caption("Select a sample in the list to see all of it.")
        listing(run, filters, sequence)
        return
    left, right = st.columns([2, 3], gap="medium")
    with left:
        listing(run, filters, sequence)
    with right, st.container(key="chosen-sample"):
        neighbours(run, filters, sequence)
        detail.sample(data.sample(run.id, sequence), run)


def choose_filters(run: Run) -> dict[str, object]:
    """Let the reader choose filters and order, kept in the address; return them for ``Store.board.page``."""
    with st.container(key="filters"):
        return _filters(run)


def _filters(run: Run) -> dict[str, object]:
    with st.container(key="status-and-text"):
        first, second = st.columns([3, 2])
    used = [str(status) for status in Status if run.counts.get(status)]
    status = first.pills("Status", used, selection_mode="multi", key="status", bind="query-params")
    words = second.text_input(
        "Text", key="text", bind="query-params", placeholder="in id, question, reply or error", type="search"
    )
    used_already = any(name in st.query_params for name in ("status", "text", "score"))
    with st.expander("Filters and order", icon=":material/tune:", expanded=used_already):
        first, second, third, fourth = st.columns([3, 1, 1, 2])
        names = [info.name for info in run.spec.metrics]
        chosen = first.selectbox("Metric", [ANY, *names], key="score", bind="query-params")
        metric = None if chosen == ANY else chosen
        limits = {"step": 0.05, "format": "%.2f", "disabled": metric is None, "bind": "query-params"}
        at_least = second.number_input("at least", value=None, key="min", **limits)  # type: ignore[call-overload]
        at_most = third.number_input("at most", value=None, key="max", **limits)  # type: ignore[call-overload]
        order = fourth.segmented_control(
            "Order",
            list(ORDERS),
            default=AS_RUN,
            required=True,
            disabled=metric is None,
            key="order",
            bind="query-params",
        )
    return {
        "status": status or None,
        "metric": metric,
        "at_least": at_least if metric else None,
        "at_most": at_most if metric else None,
        "text": words or None,
        "order": ORDERS[order if metric and order else AS_RUN],
    }


def chosen_sequence(run: Run) -> int | None:
    """Return the sample that ``?sample=`` names, or None, with an error where the run lacks it."""
    asked = st.query_params.get("sample")
    if asked is None:
        return None
    try:
        sequence: int = data.sample(run.id, int(asked)).sequence
    except (ValueError, OverflowError, StoreError):
        st.error("The address names a sample that this run does not have.", icon=":material/error:")
        st.text(f"asked for: {asked[:200]}")
        return None
    return sequence


def listing(run: Run, filters: dict[str, object], sequence: int | None) -> None:
    """Draw a page of the samples that match, with buttons for the next and the previous page."""
    page = data.page(run.id, cursor(run, filters, sequence), filters, PAGE)
    if not page.rows and page.total:  # the cursor is older than a change of the filters
        page = data.page(run.id, {}, filters, PAGE)
    if not page.rows:
        st.info("No sample matches these filters.", icon=":material/filter_alt_off:")
        return
    table(page, sequence, shown_metric(run, filters))
    with st.container(horizontal=True, vertical_alignment="center"):
        back, on = page.before, page.after
        st.button(
            "Previous page", disabled=back is None, on_click=turn, args=({"before": back},), key="page-back"
        )
        st.button("Next page", disabled=on is None, on_click=turn, args=({"after": on},), key="page-on")
        st.caption(f"{page.total:,} sample{'s match' if page.total != 1 else ' matches'}")
        st.download_button(
            "CSV",
            lambda: as_csv(run, filters),
            f"samples-{run.id}.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


def cursor(run: Run, filters: dict[str, object], sequence: int | None) -> dict[str, int | None]:
    """Return the list's cursor: kept for the same run and filters, else at the chosen sample or the start."""
    signature = (run.id, repr(filters))
    if st.session_state.get("list-of") != signature:
        first_visit = "list-of" not in st.session_state
        st.session_state["list-of"] = signature
        st.session_state["cursor"] = {}
        if first_visit and sequence is not None:
            first = data.page(run.id, {}, filters, PAGE).rows
            if sequence not in {row.sequence for row in first}:
                before = data.page(run.id, {"before": sequence}, filters, 1).rows
                st.session_state["cursor"] = {"after": before[0].sequence} if before else {}
    stored: dict[str, int | None] = st.session_state["cursor"]
    return stored


def turn(target: dict[str, int | None]) -> None:
    """Go to another page of the list."""
    st.session_state["cursor"] = target


def shown_metric(run: Run, filters: dict[str, object]) -> str | None:
    """Return the metric whose values the list shows: the chosen one, or the first that judges the reply."""
    chosen = filters["metric"]
    if isinstance(chosen, str):
        return chosen
    infos = sorted(run.spec.metrics, key=lambda info: not info.judges_output)
    return infos[0].name if infos else None


def table(page: Page, sequence: int | None, metric: str | None) -> None:
    """Draw the list; a click on a row opens the sample."""
    frame = pd.DataFrame(
        [
            {
                "#": row.sequence,
                "status": str(row.status),
                "score": row.scores.get(metric or ""),
                "reply": row.reply or row.error or "",
                "question": row.question,
                "sample": row.sample_id,
            }
            for row in page.rows
        ]
    )
    sequences = [row.sequence for row in page.rows]
    key = f"list-{st.session_state.get('jumps', 0)}-{sequences[0]}"
    selected = [sequences.index(sequence)] if sequence in sequences else []
    st.dataframe(
        frame,
        hide_index=True,
        placeholder="–",
        height=min(38 + 35 * len(frame), 720),
        column_config={
            "#": st.column_config.NumberColumn(width=50),
            "status": st.column_config.TextColumn(width=85),
            "score": st.column_config.NumberColumn(metric or "score", format="%.3f", width=80),
            "sample": st.column_config.TextColumn(width=110),
            "question": st.column_config.TextColumn(width="medium"),
            "reply": st.column_config.TextColumn(width="medium"),
        },
        on_select=lambda: pick(key, sequences),
        selection_mode="single-row",
        selection_default={"selection": {"rows": selected}},
        key=key,
    )


def pick(key: str, sequences: list[int]) -> None:
    """Open the sample whose row was clicked."""
    rows = st.session_state[key]["selection"]["rows"]
    if rows:
        st.query_params["sample"] = str(sequences[rows[0]])


def neighbours(run: Run, filters: dict[str, object], sequence: int) -> None:
    """Draw buttons for the previous and the next sample among those that match the filters."""
    before = data.page(run.id, {"before": sequence}, filters, 1).rows
    after = data.page(run.id, {"after": sequence}, filters, 1).rows
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, rows in (("← Previous", before), ("Next →", after)):
            to = rows[0].sequence if rows else None
            st.button(label, disabled=to is None, on_click=jump, args=(to,), key=f"go-{label}")


def jump(sequence: int) -> None:
    """Open another sample; the list is drawn again with its row marked."""
    st.query_params["sample"] = str(sequence)
    st.session_state["jumps"] = st.session_state.get("jumps", 0) + 1


def as_csv(run: Run, filters: dict[str, object]) -> str:
    """Return the samples that match, with whole replies and all scores, as CSV."""
    return to_csv(*data.page(run.id, {}, {**filters, "whole": True}, CSV_ROWS).table())


main()
