"""RAG: is the retriever or the generator the weak part? The report on one model and one task."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from evalkit_leaderboard import charts, data, rag_charts, text
from evalkit_leaderboard.choose import warn_unknown

from evalkit.compare.rag import Gain, Point, Report
from evalkit.compare.rag.comparison import Comparison, output_metrics

GENERATOR = ("retrieved but not used", "used but wrong", "retrieved but wrong")
RETRIEVER = ("not retrieved", "partly retrieved")


def main() -> None:
    """Draw the page."""
    st.title("RAG")
    comparisons = data.comparisons()
    if not comparisons:
        st.info("The store holds no complete run of a RAG task yet. All arms of one:", icon=":material/info:")
        st.code("evalkit run fictional_trials -p arm=all --model baseline:extract", language=None)
        return
    compared = choose(comparisons)
    metric = choose_metric(compared)
    report = data.rag_report(compared, metric, None)
    if report.right is None:
        report = data.rag_report(compared, metric, choose_right(metric))
    headline(report)
    left, right = st.columns(2)
    with left:
        arms(report)
    with right:
        differences(report)
    causes(report)
    curves(report)
    agent(report)
    retrieval(report)
    runs(report)
    missing_runs(report)


def choose(comparisons: Sequence[Comparison]) -> Comparison:
    """Let the reader choose the task with its settings, then the model."""
    tasks: dict[str, list[Comparison]] = {}
    for compared in comparisons:
        tasks.setdefault(data.settings(compared), []).append(compared)
    warn_unknown("rag_task", list(tasks))
    left, right = st.columns([3, 2])
    task = left.selectbox("Task", list(tasks), key="rag_task", bind="query-params")
    models = {c.runs[0].spec.model: c for c in reversed(tasks[task])}
    names = sorted(models, key=lambda name: (len(models[name].arms) < 3, name))
    warn_unknown("rag_model", names)
    with right:
        return models[st.selectbox("Model", names, key="rag_model", bind="query-params")]


def choose_metric(compared: Comparison) -> str:
    """Let the reader choose one of the metrics that judge the reply."""
    first = compared.arm("retrieved") or compared.runs[0]
    names = [info.name for info in output_metrics(first)]
    warn_unknown("rag_metric", names)
    options = {"default": names[0], "required": True, "key": "rag_metric", "bind": "query-params"}
    return st.pills("Metric", names, **options) or names[0]  # type: ignore[call-overload]


def choose_right(metric: str) -> float | None:
    """Let the reader say from which score of a graded metric on a reply is right."""
    label = f"A reply is right from this {text.escape(metric)} on"
    options = {"value": None, "step": 0.05, "format": "%.3f", "key": "rag_right", "bind": "query-params"}
    return st.number_input(label, placeholder="not said: no causes of errors", **options)  # type: ignore[call-overload, no-any-return]


def headline(report: Report) -> None:
    """Draw the main figures: the gains of retrieval, and the part that causes the errors."""
    gains = {(g.first, g.second): g for g in report.gains if g.metric == report.metric}
    wrong = {
        name: sum(c.n for c in report.causes if c.name in names)
        for name, names in (("retriever", RETRIEVER), ("generator", GENERATOR))
    }
    total = sum(wrong.values())
    row = st.container(horizontal=True)
    columns = [row.container(width="stretch") for _ in range(4)]
    figure(columns[0], "Retrieval gains", gains.get(("retrieved", "closed_book")))
    figure(columns[1], "Perfect retrieval adds", gains.get(("oracle", "retrieved")))
    for column, (name, n) in zip(columns[2:], wrong.items(), strict=True):
        share = f"{n / total:.0%}" if total else "–"
        column.metric(f"The {name}'s errors", share, border=True)
        needed = "needs the arm retrieved" if report.right is not None else "needs a score that is right"
        column.caption(f"{n:,} of {total:,} wrong answers" if report.causes else needed)


def figure(column: st.delta_generator.DeltaGenerator, name: str, gain: Gain | None) -> None:
    """Draw one paired difference with its interval."""
    column.metric(name, "–" if gain is None else f"{gain.difference.value:+.3f}", border=True)
    caption = (
        "needs both arms" if gain is None else f"{text.interval(gain.difference)}, n = {gain.difference.n:,}"
    )
    column.caption(caption)


def arms(report: Report) -> None:
    """Draw the score of each arm."""
    st.subheader("Arms")
    st.caption("The same questions, with other passages in the prompt.")
    scores = {name: arm[report.metric] for name, arm in report.arms.items() if report.metric in arm}
    if scores:
        st.vega_lite_chart(charts.spec(charts.metrics(scores, _axis(report))), width="stretch")


def differences(report: Report) -> None:
    """Draw the differences between arms, paired by sample."""
    st.subheader("Differences between arms")
    gains = [gain for gain in report.gains if gain.metric == report.metric]
    if not gains:
        st.caption("Two arms over the same questions are needed; see below.")
        return
    st.caption("Paired by sample: more precise than the difference of two means.")
    st.vega_lite_chart(charts.spec(rag_charts.differences(gains)), width="stretch")


def causes(report: Report) -> None:
    """Draw the causes of errors."""
    if not report.causes:
        return
    st.subheader("Where errors come from")
    sign = "at least" if report.higher_is_better else "at most"
    st.text(f"Right: {report.metric} of {sign} {report.right:.3f} ({report.rule}).")
    st.vega_lite_chart(charts.spec(rag_charts.causes(report.causes)), width="stretch")
    with st.expander("What the causes mean"):
        rows = [
            {
                "cause": c.name,
                "n": c.n,
                "share": c.share.value,
                "interval": text.interval(c.share),
                "meaning": c.meaning,
            }
            for c in report.causes
        ]
        config = {"share": st.column_config.NumberColumn(format="percent")}
        st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config)


def curves(report: Report) -> None:
    """Draw the curves that have two points or more: score, or share of the evidence or of the samples."""
    by, score = report, report.metric
    shown, found, share = "gold documents shown", "gold documents found", "share of the samples"
    drawn = [
        ("By rank of the evidence", "Arm retrieved.", by.by_rank, "rank of the first gold document", score),
        ("By position of the evidence", "Arm hidden: lost in the middle?", by.by_position, "position", score),
        ("By number of passages", "Arm retrieved.", by.by_k, "k", score),
        ("By noise", "Arms oracle and hidden.", by.by_noise, "distractors around the evidence", score),
        ("Evidence shown", "Arm retrieved: of what fits, the share found.", by.shown_by_k, "k", shown),
        ("Evidence found by searches", "Arm agent.", by.by_search, "after search", found),
        ("Searches made", "Arm agent.", by.searches, "searches", share),
    ]
    drawn = [curve for curve in drawn if len(curve[2]) > 1]
    for pair in (drawn[i : i + 2] for i in range(0, len(drawn), 2)):
        for column, (title, caption, points, x, y) in zip(st.columns(2), pair, strict=False):
            with column:
                st.subheader(title)
                st.caption(caption + _fewest(points))
                st.vega_lite_chart(charts.spec(rag_charts.curve(points, x, y)), width="stretch")


def agent(report: Report) -> None:
    """Draw the gain of a model that searches itself over one search, beside the tokens of both."""
    if not report.agent_gains:
        return
    st.subheader("Searching itself, against one search")
    st.caption(
        "Tokens a sample, of all prompts and completions, also of what the server read from its cache. The "
        "fair comparison is that at about equal tokens: they differ by no more than a quarter."
    )
    rows = [
        {
            "agent": g.first.removeprefix("agent "),
            "one search": g.second.removeprefix("retrieved "),
            "tokens": round(g.first_tokens),
            "tokens of one search": round(g.second_tokens),
            "about equal": g.equal_tokens,
            report.metric: g.a,
            "of one search": g.b,
            "difference": g.difference.value,
            "interval": text.interval(g.difference),
        }
        for g in report.agent_gains
    ]
    scores = (report.metric, "of one search", "difference")
    config = {name: st.column_config.NumberColumn(format="%.3f") for name in scores}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=config)


def _fewest(points: Sequence[Point]) -> str:
    counts = [point.estimate.n for point in points]
    return f" {min(counts):,} to {max(counts):,} samples a point." if min(counts) < max(counts) else ""


def retrieval(report: Report) -> None:
    """Draw the retriever's own metrics, and the share of replies that abstain."""
    left, right = st.columns(2)
    if report.retrieval:
        with left:
            st.subheader("Retrieval")
            st.vega_lite_chart(charts.spec(charts.metrics(report.retrieval)), width="stretch")
    if report.abstained:
        with right:
            st.subheader("Abstains")
            st.caption("Right in the arm missing; wrong where the evidence was shown.")
            st.vega_lite_chart(
                charts.spec(charts.metrics(report.abstained, "share of replies that abstain")),
                width="stretch",
            )


def runs(report: Report) -> None:
    """Draw the table of the runs; a click on a row opens the run."""
    st.subheader("Runs")
    rows = [{"arm": name, "run": run_id} for name, run_id in report.runs.items()]
    state = st.dataframe(
        pd.DataFrame(rows), hide_index=True, on_select="rerun", selection_mode="single-row", key="rag-runs"
    )
    st.caption("Select a row to open its run.")
    if chosen := state["selection"]["rows"]:
        st.switch_page("views/run.py", query_params={"run": rows[chosen[0]]["run"]})


def missing_runs(report: Report) -> None:
    """Draw what is not known yet, with the commands that measure it."""
    if not report.missing_runs:
        return
    st.subheader("Not known yet")
    for missing in report.missing_runs:
        st.caption(missing.what)
        st.code(missing.command, language=None, wrap_lines=True)


def _axis(report: Report) -> str:
    return f"{report.metric} · {'higher is better →' if report.higher_is_better else '← lower is better'}"


main()
