"""``evalkit annotate``."""

from __future__ import annotations

import click

from evalkit.cli.options import store_option
from evalkit.cli.output import echo
from evalkit.errors import UsageError


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--label", metavar="TEXT", help="A few words beside the model's name; an empty text removes them."
)
@click.option(
    "--hide/--unhide", "hidden", default=None, help="Leave the runs out of the leaderboard, or not."
)
@store_option
def annotate(runs: tuple[str, ...], label: str | None, hidden: bool | None, store_url: str | None) -> None:
    """Label RUNS, or hide them from the leaderboard. Scores and samples stay as they are."""
    from evalkit.store import open_store

    if label is None and hidden is None:
        raise UsageError("nothing to note: give --label TEXT, --hide or --unhide")
    with open_store(store_url, create=False) as store:
        for run in [store.runs.get(name) for name in runs]:
            store.runs.annotate(run.id, label=label, hidden=hidden)
            echo(f"Noted for run {run.id}.", err=True)
