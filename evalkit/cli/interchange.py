"""``evalkit import`` and ``evalkit export``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evalkit.cli.options import include_option, json_option, marks_option, store_option
from evalkit.cli.output import echo, print_json
from evalkit.cli.run_report import print_runs, run_document


@click.command("import")
@click.argument("where", metavar="DIR", type=click.Path(path_type=Path))
@marks_option
@store_option
@json_option
def import_(where: Path, marks: tuple[str, str] | None, store_url: str | None, as_json: bool) -> None:
    """Read result files of lm-eval into the store.

    DIR is the --output_path of lm-eval, a folder inside it, or one file results_*.json. Samples are read if
    lm-eval logged them (--log_samples). Runs that the store has already do not change.
    """
    from evalkit.lm_eval.import_results import import_results
    from evalkit.store import open_store

    with open_store(store_url) as store:
        runs, known = import_results(where, store, marks)
    if as_json:
        print_json({"runs": [run_document(run) for run in runs], "known": known})
    elif runs:
        print_runs(runs)
    echo(f"{len(runs)} runs imported, {len(known)} were in the store already.", err=True)


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(["lm-eval"]), default="lm-eval", help="File format.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("export"), help="Folder [default: export]."
)
@include_option
@store_option
def export(
    runs: tuple[str, ...], form: str, out: Path, include_path: Path | None, store_url: str | None
) -> None:
    """Write runs as result files of lm-eval.

    RUNS are run ids, unique prefixes of them, or 'latest'. The command prints the names of the files. Exit
    code 1: a run is incomplete, which the files cannot show.
    """
    from evalkit.lm_eval.export_results import export_run
    from evalkit.store import open_store

    code = 0
    with open_store(store_url, create=False) as store:
        for name in runs:
            run = store.runs.get(name)
            for path in export_run(run, store, out, include_path):
                echo(path)
            if not run.is_complete:
                echo(f"Run {run.id} is {run.status}: its scores lack samples.", err=True)
                code = 1
    sys.exit(code)
