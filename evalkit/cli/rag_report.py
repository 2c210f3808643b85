"""``evalkit rag-report``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from evalkit.cli.options import json_option, store_option
from evalkit.cli.output import cell, echo, print_json
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.compare.rag import Gain, Point, Report, Setting
    from evalkit.store.records import Run
    from evalkit.types import Estimate

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns, rows."""


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--metric", help="The metric of curves and causes [default: the task's first output metric].")
@click.option(
    "--by",
    multiple=True,
    metavar="SETTING",
    help="Only compare runs that differ in this setting, such as search. Repeat for several.",
)
@click.option(
    "--right",
    type=float,
    metavar="SCORE",
    help="The score from which on a sample is right; needed for causes by a graded metric.",
)
@click.option("--markdown", is_flag=True, help="Print tables in Markdown.")
@store_option
@json_option
def rag_report(
    runs: tuple[str, ...],
    metric: str | None,
    by: tuple[str, ...],
    right: float | None,
    markdown: bool,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Tell whether the retriever or the generator is the weak part, from runs of a RAG task in several arms.

    RUNS are run ids, unique prefixes of them, or 'latest'. The newest runs of the same task, model and
    settings in the other arms, and with other k, positions and searches, are added. With --by, runs that
    differ in that setting are added as well.
    """
    from evalkit.compare.rag import reports, settings, with_siblings
    from evalkit.store import open_store

    with open_store(store_url, create=False) as store:
        chosen = [store.runs.get(name) for name in runs]
        among = {run.id: run for one in chosen for run in with_siblings(store, one, by)}
        made = reports(store, among.values(), metric, right)
        compared = settings(store, made)
    used = {run_id: among[run_id] for report in made for run_id in report.runs.values()}
    arms = {run.spec.params["arm"] for run in used.values()}
    asked_for = {run.id for run in chosen}
    for run in among.values():
        if run.id not in used and (run.id in asked_for or run.spec.params.get("arm") not in arms):
            echo(f"evalkit: run {run.id} is left out: {_reason(run, used.values())}", err=True)
    if not made:
        raise UsageError(
            "no complete run of a RAG task among these (one with the parameter arm). For example: "
            "evalkit run fictional_trials -p arm=all --model baseline:extract"
        )
    if as_json:
        print_json({"reports": made, "settings": compared})
        return
    show = _markdown if markdown else _rich
    if by and not compared:
        raise UsageError(
            f"nothing to compare: no complete runs of the arm retrieved differ in {', '.join(by)}"
        )
    for report in () if by else made:
        _print(report, show)
    if compared:
        show(_settings_table(compared))


def _settings_table(compared: Sequence[Setting]) -> Table:
    """Return a table of settings; the title names the model if all have the same one."""
    rows = [[s.model, s.settings, s.metric, cell(s.estimate), cell(s.difference)] for s in compared]
    columns = ["model", "settings", "metric", "estimate", "difference to the first"]
    if len({s.model for s in compared}) > 1:
        return "Settings compared (arm retrieved)", columns, rows
    return f"Settings compared (arm retrieved, {compared[0].model})", columns[1:], [row[1:] for row in rows]


def _reason(run: Run, used: Collection[Run]) -> str:
    from evalkit.compare.rag.comparison import why_left_out

    if "arm" not in run.spec.params:
        return "its task has no arms"
    if not run.is_complete:
        return f"it is {run.status}; evalkit resume {run.id} completes it"
    if unlike := why_left_out(run, used):
        return f"it differs from the runs of the report in {unlike}"
    return "it repeats a run that was named before it"


def _print(report: Report, show: Callable[[Table], None]) -> None:
    settings = ", ".join(f"{name}={value}" for name, value in report.params.items())
    echo(f"{report.model} on {report.task}" + (f" ({settings})" if settings else ""), bold=True)
    for table in tables(report):
        show(table)
    if report.right is None:
        echo(f"Where errors come from: {report.metric} is graded; {report.rule}")
    if report.missing_runs:
        echo("Missing figures, and the commands that measure them:")
        for missing in report.missing_runs:
            echo(f"  {missing.what}:\n    {missing.command}")


def tables(report: Report) -> Iterator[Table]:
    """Return the tables of a report, without empty ones."""
    metric = f"{report.metric} {_arrow(report.higher_is_better)}"
    arms = [[arm, cell(by[report.metric])] for arm, by in report.arms.items() if report.metric in by]
    sign = "≥" if report.higher_is_better else "≤"
    right = f"right: {report.metric} {sign} {report.right or 0:.3f}, {report.rule}"
    causes = [[c.name, str(c.n), cell(c.share), c.meaning] for c in report.causes]
    evidence = {point.at: point.estimate for point in report.shown_by_k}
    by_k = [[p.at, cell(p.estimate), cell(evidence.get(p.at))] for p in report.by_k]
    across = ["", "arms", "first", "second", f"difference in {metric}", "n"]
    others, pairs = _other_metrics(report)
    all_tables: list[Table] = [
        ("Retrieval", ["metric", "estimate"], _estimates(report.retrieval)),
        ("Arms", ["arm", metric], arms),
        ("Differences between arms, paired by sample", across, _gains(report)),
        ("Differences in other metrics, paired by sample", ["metric", *pairs], others),
        (f"Where errors come from ({right})", ["cause", "n", "share", ""], causes),
        ("By rank of the first gold document", ["rank", metric, "n"], _points(report.by_rank)),
        ("By position of the evidence (hidden)", ["position", metric, "n"], _points(report.by_position)),
        ("By number of passages (retrieved)", ["k", metric, "evidence shown"], by_k),
        ("By number of distractors (hidden)", ["distractors", metric, "n"], _points(report.by_noise)),
        ("Abstains", ["arm", "share of replies"], _estimates(report.abstained)),
        ("Searches (agent)", ["searches made", "share of the samples", "n"], _points(report.searches)),
        ("Evidence found (agent)", ["after search", "gold documents found", "n"], _points(report.by_search)),
        (
            "Agent against one search, paired by sample",
            ["agent", "one search", "tokens a sample", metric, "difference"],
            _agent_gains(report),
        ),
    ]
    return (table for table in all_tables if table[2])


def _gains(report: Report) -> list[list[str]]:
    return [
        [g.meaning, _pair(g), f"{g.a:.3f}", f"{g.b:.3f}", cell(g.difference), str(g.difference.n)]
        for g in report.gains
        if g.metric == report.metric
    ]


def _agent_gains(report: Report) -> list[list[str]]:
    return [
        [
            g.first.removeprefix("agent "),
            g.second.removeprefix("retrieved "),
            f"{g.first_tokens:,.0f} against {g.second_tokens:,.0f}" + " (about equal)" * g.equal_tokens,
            f"{g.a:.3f} against {g.b:.3f}",
            cell(g.difference),
        ]
        for g in report.agent_gains
    ]


def _other_metrics(report: Report) -> tuple[list[list[str]], list[str]]:
    """Return the first two differences of each other metric, one row for each; and the pairs of arms."""
    others = [gain for gain in report.gains if gain.metric != report.metric]
    pairs = list(dict.fromkeys(map(_pair, others)))[:2]
    rows: dict[str, dict[str, str]] = {}
    for gain in others:
        name = f"{gain.metric} {_arrow(gain.higher_is_better)}"
        rows.setdefault(name, {})[_pair(gain)] = cell(gain.difference)
    return [[name, *(row.get(pair, "–") for pair in pairs)] for name, row in rows.items()], pairs


def _pair(gain: Gain) -> str:
    return f"{gain.first} − {gain.second}"


def _estimates(by_name: Mapping[str, Estimate]) -> list[list[str]]:
    return [[name, cell(estimate)] for name, estimate in by_name.items()]


def _arrow(higher: bool) -> str:
    return "↑" if higher else "↓"


def _points(points: Sequence[Point]) -> list[list[str]]:
    return [[point.at, cell(point.estimate), str(point.estimate.n)] for point in points]


def _rich(table: Table) -> None:
    from evalkit.cli.terminal import Console, Text, new_table

    title, columns, rows = table
    printed = new_table(title)
    for name in columns:
        printed.add_column(Text(name), overflow="fold")
    for row in rows:
        printed.add_row(*map(Text, row))
    Console().print(printed)


def _markdown(table: Table) -> None:
    title, columns, rows = table
    echo(f"\n**{title}**\n")
    for row in (columns, ["---"] * len(columns), *rows):
        echo("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |")
