"""The score against the tokens that a reply may have, on the terminal and in ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from evalkit.cli.output import cell, echo, print_json
from evalkit.store.records import MetricInfo, Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.compare.budget import Budgets
    from evalkit.store.store import Store

WIDTH = 33  # characters of a line of the picture


def print_budgets(store: Store, runs: Sequence[Run], as_json: bool) -> None:
    """Print the scores of each run with fewer tokens for each sample."""
    from evalkit.compare.budget import Budgets

    found = [Budgets(store, run) for run in runs]
    if as_json:
        print_json({"budget": [_document(budgets) for budgets in found]})
        return
    for budgets in found:
        first, *others = budgets.metrics
        _print_curve(budgets, first)
        _print_others(budgets, others)
        for note in budgets.notes:
            echo(note)


def _document(budgets: Budgets) -> dict[str, Any]:
    return {
        "run": budgets.run.id,
        "task": budgets.run.spec.task,
        "model": budgets.run.spec.model,
        "points": budgets.points(),
        "calls": budgets.calls,
        "unknown": budgets.unknown,
        "left_out": budgets.left_out,
    }


def _print_curve(budgets: Budgets, info: MetricInfo) -> None:
    """Print one metric: a row for each limit, with the estimate as a number and as a picture."""
    from evalkit.cli.terminal import Console, Text, new_table

    points = [budgets.at(tokens) for tokens in budgets.steps()]
    estimates = [point.scores[info.name] for point in points]
    ends = [end for e in estimates for end in (e.bounds or e.ci)]
    low, high = info.low, max(*ends, info.low) if info.high is None else info.high
    spec = budgets.run.spec
    table = new_table(f"{spec.task}, {spec.model}: {info.name} by the limit of tokens")
    table.add_column("limit", justify="right")
    table.add_column("cut off", justify="right")
    table.add_column(Text(info.name), justify="right", no_wrap=True)
    table.add_column(Text(f"{low:g}{f'{high:g}':>{WIDTH - len(f'{low:g}')}}"), no_wrap=True, style="dim")
    for point, estimate in zip(points, estimates, strict=True):
        line = _picture(estimate, low, high)
        table.add_row(f"{point.tokens:,}", f"{point.cut:.1%}", cell(estimate), line)
    console = Console()
    console.print(table)
    if len(points) > 1:
        console.print(Text(budgets.sentence(info.name)), soft_wrap=True)


def _print_others(budgets: Budgets, infos: Sequence[MetricInfo]) -> None:
    """Print the metrics without a picture: a row for each limit, a column for each metric."""
    from evalkit.cli.terminal import Console, Text, new_table

    console = Console()
    points = [budgets.at(tokens) for tokens in budgets.steps()]
    across = max(1, (console.width - 10) // 24)
    for start in range(0, len(infos), across):
        part = infos[start : start + across]
        table = new_table(f"{budgets.run.spec.task}: other metrics by the limit of tokens")
        table.add_column("limit", justify="right")
        for info in part:
            table.add_column(Text(info.name), justify="right", no_wrap=True)
        for point in points:
            table.add_row(f"{point.tokens:,}", *(cell(point.scores[info.name]) for info in part))
        console.print(table)


def _picture(estimate: Estimate, low: float, high: float) -> str:
    """Return a line with the interval (or the bounds) as a rule and the value as a point."""
    scale = (WIDTH - 1) / (high - low) if high > low else 0.0
    left, value, right = (
        round((min(max(x, low), high) - low) * scale)
        for x in ((estimate.bounds or estimate.ci)[0], estimate.value, (estimate.bounds or estimate.ci)[1])
    )
    return "".join("●" if n == value else "─" if left <= n <= right else " " for n in range(WIDTH))
