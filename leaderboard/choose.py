"""The run that a page shows: named in the address, or picked by the reader."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from evalkit.errors import UsageError
from evalkit.store.records import Run

from . import data, text


def choose_run() -> Run | None:
    """Return the run of ``?run=``, or let the reader pick one; None until there is a run."""
    asked = st.query_params.get("run")
    if asked is not None:
        try:
            return data.run(asked)
        except UsageError as error:
            st.error("The address names a run that is not in this store.", icon=":material/error:")
            st.text(str(error))
    runs = data.runs()
    if not runs:
        say_no_runs()
        return None
    names = {
        run.id: f"{text.short(run.spec.model)} · {run.spec.task} · {text.moment(run.started)} · {run.id}"
        for run in runs
    }
    picked = st.selectbox("Pick a run", list(names), index=None, format_func=names.__getitem__, key="pick")
    if picked is not None:
        st.query_params["run"] = picked
        st.rerun()
    return None


def say_no_runs() -> None:
    """Say that the store is empty, and show the command for a first run."""
    st.info("The store holds no run yet. A first one, with no model server:", icon=":material/info:")
    st.code("evalkit run fictional_trials --model baseline:extract", language=None)


def warn_unknown(parameter: str, known: Sequence[str]) -> None:
    """Warn where the address names an unknown value, since the page then shows another one."""
    asked = st.query_params.get(parameter)
    if asked is not None and asked not in known:
        what = parameter.removeprefix("rag_")
        st.warning(f"The address asks for a {what} that is not here; the page shows another one.")
        st.text(f"asked for: {asked}")
