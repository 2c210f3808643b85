"""``evalkit rescore``."""

from __future__ import annotations

import sys

import click

from evalkit.cli.details import details_of
from evalkit.cli.failures import failures_of, incomplete_reasons, no_values, without_value
from evalkit.cli.options import json_option, marks_option, metric_option, store_option
from evalkit.cli.output import echo, print_json
from evalkit.cli.run_report import print_runs, run_document
from evalkit.run import event_loop


@click.command()
@click.argument("runs", nargs=-1, required=True)
@metric_option
@marks_option
@store_option
@json_option
def rescore(
    runs: tuple[str, ...],
    metrics: tuple[str, ...],
    marks: tuple[str, str] | None,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Score the stored answers of RUNS again with the task's present metrics, without a model.

    RUNS are run ids, unique prefixes of them, or 'latest'. Reasoning in the answers is taken out first, with
    the marks of the run's model and those given here.
    """
    from evalkit.collection.with_metrics import parse_metric
    from evalkit.run.rescoring import rescore as score_again
    from evalkit.store import open_store

    with open_store(store_url, create=False) as store:
        asked = {parse_metric(text).name for text in metrics}
        done = [event_loop.run(score_again(store.runs.get(name), store, metrics, marks)) for name in runs]
        failures, details = failures_of(store, done), details_of(store, done)
    if as_json:
        print_json({"runs": [run_document(r, failures.get(r.id), details[r.id]) for r in done]})
    else:
        print_runs(done, details)
    missing = [(one.spec.task, without_value(one, failures.get(one.id))) for one in done]
    for line in no_values(missing):
        echo(line, err=True)
    for one in done:
        if not one.is_complete:
            echo(incomplete_reasons(one, failures[one.id]), err=True)
    missed = any(asked.intersection(names) for _, names in missing)
    sys.exit(0 if all(r.is_complete for r in done) and not missed else 1)
