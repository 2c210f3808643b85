"""``evalkit show``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.against import against_document, print_against_first
from evalkit.cli.budget import print_budgets
from evalkit.cli.details import details_of
from evalkit.cli.failures import failures_of, incomplete_reasons
from evalkit.cli.options import json_option, store_option
from evalkit.cli.output import cell, echo, print_json
from evalkit.cli.run_report import print_reliance, print_runs, print_slices, run_document
from evalkit.cli.samples import LISTED, find_sample, list_samples, print_sample, print_title
from evalkit.errors import UsageError
from evalkit.store.records import Run
from evalkit.types import Status

if TYPE_CHECKING:
    from evalkit.compare.differences import Against


@click.command()
@click.argument("runs", nargs=-1)
@click.option("--task", help="Only runs of this task.")
@click.option("--model", help="Only runs of this model.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Show at most N [default: 20 runs or samples; with --format csv, all samples].",
)
@click.option("--sample", metavar="ID", help="Show one sample of the run, by its id or #SEQUENCE.")
@click.option("--samples", "listed", is_flag=True, help="List samples of the run, at most --limit.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([s.value for s in Status]),
    multiple=True,
    help="List samples with this status. Repeat for several.",
)
@click.option(
    "--at-most", metavar="METRIC=VALUE", help="List samples with at most this score: exact_match=0."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "markdown", "latex"]),
    help="Print all scores with their intervals; csv has a line for each run and metric. With --samples, "
    "csv has a line for each sample, with its whole reply.",
)
@click.option("--reliance", "relies", is_flag=True, help="Show how much RUNS lose without their pictures.")
@click.option("--budget", is_flag=True, help="Show the score that RUNS would have with fewer tokens a reply.")
@store_option
@json_option
def show(
    runs: tuple[str, ...],
    task: str | None,
    model: str | None,
    limit: int | None,
    sample: str | None,
    listed: bool,
    statuses: tuple[str, ...],
    at_most: str | None,
    form: str | None,
    relies: bool,
    budget: bool,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Show stored runs.

    Without RUNS, list the latest ones. RUNS are run ids, unique prefixes of them, or 'latest': show
    all metrics of these runs, and their differences to the first.
    """
    from evalkit.store import open_store

    _refuse_two(
        {
            "--sample": sample is not None,
            "a list of samples": bool(listed or statuses or at_most),
            "--reliance": relies,
            "--budget": budget,
        }
    )
    with open_store(store_url, create=False) as store:
        chosen = [store.runs.get(r) for r in runs] or store.runs.find(
            task=task, model=model, limit=limit or LISTED
        )
        if sample is not None:
            if len(chosen) != 1:
                raise UsageError("--sample needs one run: evalkit show RUN --sample ID")
            record = find_sample(store, chosen[0], sample)
            if as_json:
                print_json(record)
                return
            print_title(chosen[0])
            print_sample(record, chosen[0].spec.repeats)
            return
        if listed or statuses or at_most:
            if len(chosen) != 1:
                raise UsageError("--samples needs one run: evalkit show RUN --samples --status error")
            if form not in (None, "csv"):
                raise UsageError(
                    f"--format {form} shows scores; lists of samples have --format csv and --json"
                )
            list_samples(store, chosen[0], statuses, at_most, limit, "json" if as_json else form or "text")
            return
        if budget:
            if not runs:
                raise UsageError("--budget needs a run: evalkit show RUN --budget")
            if form:
                raise UsageError(f"--budget has no --format {form}: leave it out, or use --json")
            print_budgets(store, chosen, as_json)
            return
        if form:
            from evalkit.cli.tables import print_table

            print_table(chosen, form)
            return
        if relies:
            _show_reliance(store, chosen, as_json)
            return
        failures = failures_of(store, chosen if runs or as_json else ())
        details = details_of(store, chosen if runs else ())
        compared = _compared(store, chosen) if len(runs) > 1 else None
    if as_json:
        shown = [run_document(r, failures.get(r.id), details.get(r.id)) for r in chosen]
        print_json({"runs": shown, **against_document(compared)})
    elif not chosen:
        filters = [f"--{name} {value!r}" for name, value in (("task", task), ("model", model)) if value]
        none = f"No run matches {' and '.join(filters)}. List all runs: evalkit show"
        first = "No runs yet. Try: evalkit run fictional_trials --model baseline:extract"
        echo(none if filters else first)
    elif runs:
        print_runs(chosen, details)
        print_against_first(compared)
        for one in chosen:
            print_slices(one)
            if one.id in failures:
                echo(incomplete_reasons(one, failures[one.id]), err=True)
    else:
        _print_list(chosen)


def _refuse_two(views: Mapping[str, bool]) -> None:
    """Raise ``UsageError`` if more than one view of the runs is asked for."""
    asked = [name for name, is_asked in views.items() if is_asked]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} are different views: ask for one at a time")


def _compared(store: Any, chosen: Sequence[Run]) -> Against:
    from evalkit.compare.differences import against_first

    return against_first(store, chosen, across=True)


def _show_reliance(store: Any, chosen: Sequence[Run], as_json: bool) -> None:
    """Show each run with the newest runs of its kind in the other arms."""
    from evalkit.compare.image_ablation import PARAMETER, documents, reliance
    from evalkit.compare.siblings import with_siblings

    among = {run.id: run for one in chosen for run in with_siblings(store, one, [PARAMETER])}
    measured = reliance(store, among.values())
    if as_json:
        print_json({"reliance": documents(measured)})
    elif measured:
        print_reliance(measured)
    else:
        raise UsageError(
            "image reliance needs complete runs with image=real and in another arm (blank, shuffled, none). "
            "A vision task runs in all arms by itself: evalkit run vqa_rad --model MODEL"
        )


def _print_list(runs: Sequence[Run]) -> None:
    from evalkit.cli.terminal import Console, Text, new_table

    console = Console()
    names = ["run", "task", "model", "samples", "first metric", "score"]
    rows = []
    for run in runs:
        count = run.size if run.is_complete else f"{run.size} {run.status}"
        first = next((m.name for m in run.spec.metrics if m.name in run.metrics), "–")
        score = cell(run.metrics[first]) if first in run.metrics else ""
        rows.append([run.id, run.spec.task, run.spec.model, count, first, score])
    # If six columns would break words in two, three columns with two lines each are used.
    widest = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    if sum(widest) + 3 * len(names) > console.width:
        names = ["run, samples", "task, model", "first metric"]
        rows = [[f"{r[0]}\n{r[3]}", f"{r[1]}\n{r[2]}", f"{r[4]}\n{r[5]}".strip()] for r in rows]
    table = new_table()
    for name in names:
        table.add_column(name, no_wrap=name.startswith("run"), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)
    echo("All metrics of a run: evalkit show RUN")
