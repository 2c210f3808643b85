"""Differences of runs to the first run of their task, on the terminal and in ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit.cli.output import cell

if TYPE_CHECKING:
    from evalkit.compare.differences import Against, PairedDifference


def against_document(found: Against | None) -> dict[str, Any]:
    """Return the differences to the first run as ``--json`` prints them; empty lists are left out."""
    if found is None:
        return {}
    lists = {"against_first": found.differences, "not_compared": found.not_compared}
    return {name: entries for name, entries in lists.items() if entries}


def print_against_first(found: Against | None) -> None:
    """Print the difference of each run to the first run of its task, paired by sample, and what has none."""
    from evalkit.cli.terminal import Console, Text, new_table

    if found is None:
        return
    console = Console()
    for key in dict.fromkeys(map(_comparison, found.differences)):
        some = [one for one in found.differences if _comparison(one) == key]
        # As a title it would be broken to the width of a narrow table.
        console.print(
            Text(f"{some[0].task}: difference to {_baseline(some[0])}, paired by sample", style="bold")
        )
        if some[0].besides_model:
            console.print(Text(_not_of_the_model(some[0])))
        if unpaired := max(one.unpaired for one in some):
            shared = f"{max(one.difference.n for one in some):,} samples of both runs"
            console.print(Text(f"Over the {shared}; {unpaired:,} scores of other samples are left out."))
        table = new_table()
        runs = {one.run: one.model for one in some}
        table.add_column("metric", overflow="fold")
        for model in runs.values():
            table.add_column(Text(model), justify="right", overflow="fold")
        cells = {(o.metric, o.run): f"{cell(o.difference)} {'*' if o.significant else ' '}" for o in some}
        for metric in dict.fromkeys(one.metric for one in some):
            table.add_row(Text(metric), *(cells.get((metric, run), "–") for run in runs))
        console.print(table)
    if tested := sum(one.p is not None for one in found.differences):
        console.print(Text(_stars(tested)))
    for one in found.not_compared:
        console.print(Text(f"Run {one.run} is not compared with run {one.baseline_run}: {one.reason}."))


def _comparison(one: PairedDifference) -> tuple[Any, ...]:
    """Return what the differences of one table share."""
    return one.task, one.baseline_run, one.besides_model, one.unpaired > 0 and one.run


def _baseline(one: PairedDifference) -> str:
    return f"run {one.baseline_run}" if one.model == one.baseline_model else one.baseline_model


def _not_of_the_model(one: PairedDifference) -> str:
    """Return what the runs of a table differ in, where that is more than the model."""
    if one.model == one.baseline_model:
        return f"Runs of one model that differ in {'; '.join(one.besides_model)}."
    return (
        f"Not a comparison of the models alone: the runs also differ in {'; '.join(one.besides_model)}. "
        "The difference is that of all together, and gets no star."
    )


def _stars(tested: int) -> str:
    if tested == 1:
        return "* The interval excludes 0. Without a star there is no evidence of a difference."
    return (
        f"* A difference at 5 % for all {tested} comparisons here together (Holm); each interval is at 95 % "
        "alone. Without a star there is no evidence of a difference."
    )
