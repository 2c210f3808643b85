"""Run: its task, model and results, and how its samples ended."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from evalkit_leaderboard import charts, data, detail, text
from evalkit_leaderboard.choose import choose_run

from evalkit.run.call_facts import reply_notes
from evalkit.store.records import Run
from evalkit.types import Status
from evalkit.util.money import dollars

BADGES = {"complete": "green", "incomplete": "orange", "interrupted": "orange", "running": "blue"}


def main() -> None:
    """Draw the page."""
    st.title("Run")
    run = choose_run()
    if run is None:
        return
    header(run)
    figures(run)
    notes(run)
    if run.metrics:
        metrics(run)
    else:
        st.info("The metrics are computed when the run ends.", icon=":material/hourglass_top:")
    slices(run)
    repeats(run)
    reliance(run)
    st.subheader("How the samples ended")
    if run.counts:
        st.vega_lite_chart(charts.spec(charts.statuses(run.counts)), width="stretch")
    else:
        st.caption("No sample has ended yet.")
    budget(run)
    configuration(run)


def header(run: Run) -> None:
    """Draw names, status and links."""
    st.subheader(f"{text.escape(run.spec.model)} on {text.escape(run.spec.task)}", anchor=False)
    if run.spec.label:
        st.text(run.spec.label)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(run.status, color=BADGES[run.status])  # type: ignore[arg-type]
        st.caption(f"started {text.moment(run.started)}, ended {text.moment(run.ended)}")
        st.page_link(
            "views/samples.py",
            label="Look at its samples",
            icon=":material/list_alt:",
            query_params={"run": run.id},
        )
    if run.status == "running":
        progress(run.id)
    elif not run.is_complete:
        missing = (run.spec.n_expected or run.n) - run.n
        failed = run.counts.get(Status.ERROR, 0)
        st.warning(
            f"Not ranked: {failed:,} samples failed and {missing:,} were never asked. "
            "The bounds below say where each score could still lie. This asks only for what is missing:"
        )
        st.code(f"evalkit resume {run.id}", language=None)


@st.fragment(run_every=2)
def progress(run_id: str) -> None:
    """Draw the progress of a run that is under way."""
    run = data.run(run_id)
    if run.status != "running":
        st.rerun()
    if run.spec.n_expected:
        done = f"{run.n:,} of {run.spec.n_expected:,} samples"
        st.progress(min(run.n / run.spec.n_expected, 1.0), text=done)
    else:
        st.caption(f"{run.n:,} samples; the data set is still being read")


def figures(run: Run) -> None:
    """Draw the numbers of samples, tokens and calls, and the time."""
    with st.container(horizontal=True):
        st.metric("Samples", run.size, border=True)
        st.metric("Prompt tokens", f"{run.tokens.prompt:,}", border=True)
        st.metric("Completion tokens", f"{run.tokens.completion:,}", border=True)
        if run.tokens.reasoning:
            st.metric("Of them reasoning", f"{run.tokens.reasoning:,}", border=True)
        st.metric("Model calls", f"{run.calls:,}", border=True)
        st.metric("From cache", f"{run.calls_from_cache:,}", border=True)
        if run.calls:
            st.metric("Cost", dollars(run.cost), border=True)
        if run.judge_cost:
            st.metric("Cost of the judge", dollars(run.judge_cost), border=True)
        st.metric("Time", text.duration(run.wall_s), border=True)


def notes(run: Run) -> None:
    """Draw what a reader should know of the requests and replies, such as another model's name."""
    for note in reply_notes(run):
        st.warning(text.escape(note), icon=":material/info:")


def metrics(run: Run) -> None:
    """Draw all estimates as a table, and those between 0 and 1 as a chart."""
    st.subheader("Metrics")
    infos = {info.name: info for info in run.spec.metrics}
    bounded = {
        name: estimate
        for name, estimate in run.metrics.items()
        if name in infos and infos[name].high == 1 and estimate.value == estimate.value
    }
    left, right = st.columns([3, 2]) if bounded else (st.container(), None)
    rows = []
    for name, estimate in run.metrics.items():
        better = infos[name].higher_is_better if name in infos else None
        row: dict[str, Any] = {
            "metric": name,
            "value": estimate.value,
            "interval": text.interval(estimate),
            "n": estimate.n,
            "bounds": f"[{text.number(estimate.bounds[0])}, {text.number(estimate.bounds[1])}]"
            if estimate.bounds
            else None,
            "better": {True: "higher", False: "lower", None: "–"}[better],
            "method": f"{estimate.level:.0%} {estimate.method}",
            "clusters": estimate.clusters,
        }
        rows.append(row)
    config = {"value": st.column_config.NumberColumn(format="%.3f")}
    frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
    left.dataframe(frame, hide_index=True, column_config=config, height=min(38 + 35 * len(frame), 600))
    if right is not None:
        right.vega_lite_chart(charts.spec(charts.metrics(bounded)), width="stretch")


def slices(run: Run) -> None:
    """Draw the estimates by slice: by question type, organ or level."""
    if not run.slices:
        return
    st.subheader("By slice")
    rows = [
        {"slice": part, "metric": name, "value": e.value, "interval": text.interval(e), "n": e.n}
        for part, estimates in run.slices.items()
        for name, e in estimates.items()
    ]
    config = {"value": st.column_config.NumberColumn(format="%.3f")}
    frame = pd.DataFrame(rows)
    st.dataframe(frame, hide_index=True, column_config=config, height=min(38 + 35 * len(frame), 420))


def repeats(run: Run) -> None:
    """Draw pass@k, maj@k and pass^k of a run with repeats, and where the variance comes from."""
    found = data.repeats(run)
    if found is None:
        return
    st.subheader("Repeats")
    names = [name for name, metric in found.metrics.items() if metric.pass_at]
    if names:
        name = names[0]
        if len(names) > 1:
            name = st.pills("Metric", names, default=name, required=True, key="repeated", bind="query-params")
        st.vega_lite_chart(charts.spec(charts.by_k(name, found.metrics[name])), width="stretch")
    rows = [
        {
            "metric": name,
            "variance of the questions": split.questions,
            "of sampling": split.sampling,
            "share of sampling": f"{split.share:.0%}" + (text.percents(split.ci) if split.ci else ""),
            "SE with 1 repeat": split.se_of_one,
            f"with {found.repeats}": split.se,
            "with ∞": split.se_of_endless,
        }
        for name, metric in found.metrics.items()
        if (split := metric.variance)
    ]
    if rows:
        number = st.column_config.NumberColumn(format="%.4f")
        named = [column for column in rows[0] if column not in ("metric", "share of sampling")]
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=dict.fromkeys(named, number))
    st.text("\n".join(found.sentences))


def reliance(run: Run) -> None:
    """Draw the image ablation, where the task was run in other arms too."""
    for result in data.reliance(run):
        st.subheader("Image reliance")
        if result.warning:
            st.warning(text.escape(result.warning), icon=":material/visibility_off:")
        rows = [
            {
                "metric": difference.metric,
                "images": difference.arm,
                "score": difference.other,
                "real": difference.real,
                "real − this": difference.difference.value,
                "interval": text.interval(difference.difference),
                "uses image": difference.excludes_zero,
            }
            for difference in result.differences
        ]
        number = st.column_config.NumberColumn(format="%.3f")
        config = dict.fromkeys(("score", "real", "real − this"), number)
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config)


def budget(run: Run) -> None:
    """Draw what the replies that were cut leave open, and the score against the tokens of a reply."""
    found = data.budget(run)
    if found.cut:
        st.text(found.cut)
    if len(found.points) < 2:
        return
    st.subheader("Score against tokens")
    names = [info.name for info in found.metrics]
    name = names[0]
    if len(names) > 1:
        name = st.pills("Metric", names, default=name, required=True, key="curve", bind="query-params")
    index = names.index(name)
    st.vega_lite_chart(charts.spec(charts.budget(found.points, found.metrics[index])), width="stretch")
    st.text("\n".join([found.sentences[index], *found.notes]))


def configuration(run: Run) -> None:
    """Draw the configuration and provenance of the run."""
    st.subheader("Where it comes from")
    spec = run.spec
    left, right = st.columns(2)
    with left:
        st.caption("Configuration")
        configuration = {
            "run": run.id,
            "task": spec.task,
            "file": spec.path,
            "model": spec.model,
            "spec": spec.model_spec,
            "params": spec.params,
            "tags": list(spec.tags),
            "repeats": spec.repeats,
            "limit": spec.limit,
            "samples": spec.n_expected,
            "dataset": spec.dataset,
        }
        detail.facts(configuration)
    with right:
        st.caption("Provenance")
        detail.facts(spec.provenance)


main()
