"""``evalkit run`` and ``evalkit resume``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from evalkit.cli.driver import OK, USAGE, RunBatch
from evalkit.cli.options import (
    include_option,
    json_option,
    keyword_option,
    limit_options,
    metric_option,
    quiet_option,
    store_option,
    tags_option,
    time_option,
)
from evalkit.cli.output import command, echo
from evalkit.collection.targets import collect
from evalkit.errors import UsageError
from evalkit.models.providers import find
from evalkit.models.spec import ModelSpec
from evalkit.store.records import Sampling
from evalkit.util.config import load_config
from evalkit.util.name_values import parse_name_values


@click.command()
@click.argument("targets", nargs=-1)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="SPEC",
    help="The model: provider:name[@url][?param=value], or a name in evalkit.toml. Repeat for several.",
)
@click.option(
    "-p", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter. Repeat to run several values."
)
@keyword_option
@tags_option
@metric_option
@click.option("--limit", type=click.IntRange(min=1), help="Only N samples: the first, or see --sample.")
@click.option(
    "--sample",
    type=click.Choice(["first", "random", "stratified"]),
    default="first",
    help="Which samples --limit takes. stratified: the same share of each slice, or of each target. The same "
    "samples for every model. [default: first]",
)
@click.option("--seed", type=int, default=0, help="Another random part of the samples. [default: 0]")
@click.option("--repeat", type=click.IntRange(min=1), default=1, help="Answer every sample N times.")
@click.option("--max-inflight", type=click.IntRange(min=1), help="The most requests at once.")
@click.option(
    "--window",
    type=click.IntRange(min=1),
    help="The most samples in progress. [default: 2048; 20000 with ?batch=true]",
)
@time_option
@limit_options
@click.option(
    "--cache",
    type=click.Choice(["on", "off", "refresh", "only"]),
    default="on",
    help="on: use the answers of other runs. off: do not use them. refresh: replace them with new answers. "
    "only: use them alone, without a server. [default: on]",
)
@click.option("--collect-only", is_flag=True, help="List what would run, and stop.")
@include_option
@store_option
@json_option
@quiet_option
def run(
    targets: tuple[str, ...],
    models: tuple[str, ...],
    params: tuple[str, ...],
    keyword: str | None,
    tags: tuple[str, ...],
    metrics: tuple[str, ...],
    collect_only: bool,
    include_path: Path | None,
    store_url: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Evaluate models on tasks.

    TARGETS are files (task_mine.py), folders, FILE::name[k=5], names of installed tasks (see evalkit list),
    or lm_eval/NAME for a task of lm-eval. Without TARGETS, all installed tasks run.
    """
    chosen: dict[str, Any] = {
        "params": parse_name_values(params, "-p"),
        "keyword": keyword,
        "tags": tags,
        "include_path": include_path,
    }
    if collect_only:
        from evalkit.cli.listing import print_node_ids
        from evalkit.collection.listing import listing

        sys.exit(print_node_ids(listing(targets, **chosen), as_json))
    if not models:
        raise UsageError(
            "give a model: --model baseline:extract (needs no server), "
            "--model sglang:NAME@http://127.0.0.1:30000 or --model openai:NAME"
        )
    options["sampling"] = _sampling(options.pop("sample"), options.pop("seed"), options["limit"])
    from evalkit.collection.with_metrics import parse_metric, with_metrics

    asked = {parse_metric(text).name for text in metrics}
    config = load_config()
    # A wrong spec of the last model is reported before the first model runs for hours.
    check_apart([find(text, config=config)[0] for text in models])
    if options["max_cost"] is not None:
        check_prices(models)
    _warn_of_prices(models)
    collected = collect(targets, **chosen)
    for broken in collected.broken:
        echo(f"evalkit: broken task file: {broken}", err=True)
    if not collected.items and not collected.broken:
        raise UsageError(nothing_matches(targets, keyword, tags))

    async def work(drive: RunBatch) -> None:
        from evalkit.run import runner

        for item in (replace(item, task=with_metrics(item.task, metrics)) for item in collected.items):
            if item.skip:
                drive.skip(item.id, item.skip)
                continue
            for text in models:
                start = partial(runner.start, item, text, drive.store)
                label = re.sub("//[^/@]*@", "//***@", text)  # a password is refused and never printed
                await drive(start, f"{item.id} with {label}", item.xfail)
        if len(models) == 2:
            drive.compare()
        _warn_of_names(drive)

    driver = RunBatch(store_url, as_json, quiet, options)
    driver.asked_metrics = asked
    code = driver.main(work)
    sys.exit(USAGE if collected.broken and code == OK else code)


def _sampling(how: str, seed: int, limit: int | None) -> Sampling | None:
    """Return how ``--limit`` takes samples. Raises ``UsageError`` for options that would do nothing."""
    if how == "first":
        if seed:
            raise UsageError(f"--seed {seed} goes with --sample random or --sample stratified")
        return None
    if limit is None:
        raise UsageError(f"--sample {how} chooses the N samples of --limit N: add --limit")
    return msgspec.convert({"how": how, "seed": seed}, Sampling)


def _warn_of_names(drive: RunBatch) -> None:
    """Warn of models whose cached answers came from a server at another address."""
    from evalkit.run.history import asked_elsewhere

    cached = {run.spec.model: run for run in drive.runs if run.calls_from_cache}
    for name, run in cached.items():
        if other := asked_elsewhere(drive.store, run):
            echo(
                f"evalkit: {run.calls_from_cache:,} answers of {name} are from the cache. Run {other.id} "
                "asked a model of that name at another address. If it is another model, add ?label=NAME",
                err=True,
            )


def check_apart(specs: Sequence[ModelSpec]) -> None:
    """Raise ``UsageError`` for two models of one name at different addresses.

    An address is not part of a model's identity: the cache would give both models the same answers.
    """
    for i, one in enumerate(specs):
        for other in specs[:i]:
            if one.display == other.display and set(one.urls) != set(other.urls):
                raise UsageError(
                    f"two models are called {one.display}, at different addresses. Add ?label=NAME to one, "
                    "so that scores and cached answers are kept apart. For one model on several servers, "
                    f"write {one.provider}:{one.name}@URL,URL"
                )


def check_prices(models: Sequence[str]) -> None:
    """Raise ``UsageError`` for a model without a known price: no limit of cost can be kept."""
    from evalkit.models.middleware.spending import no_price
    from evalkit.models.prices import price_of, shown_name

    for text in models:
        if price_of(text) is None:
            raise UsageError(no_price(shown_name(text)))


def _warn_of_prices(models: Sequence[str]) -> None:
    """Warn of a model without a price where ``evalkit.toml`` has one under nearly its name."""
    from evalkit.models.prices import listed_prices, price_of, shown_name

    listed = listed_prices(load_config())
    for text in models if listed else ():
        name = shown_name(text)
        alike = [key for key in listed if key in text or name in key]
        if alike and price_of(text) is None:
            echo(
                f"evalkit: no price of {name} is known; evalkit.toml has one of {', '.join(alike)}. "
                f'If it is the same model, write [prices."{name}"]',
                err=True,
            )


def nothing_matches(targets: Sequence[str], keyword: str | None, tags: Sequence[str]) -> str:
    """Return the message for targets and filters that match no item."""
    filters = [*([f"-k {keyword!r}"] if keyword else []), *(f"-m {tag!r}" for tag in tags)]
    here = " ".join(targets)
    if filters:
        return f"no task matches {' '.join(filters)}. List tasks: {command()} list{f' {here}' * bool(here)}"
    return f"no task in {here}: a task is an async function with @task above it ({command()} new task NAME)"


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--max-inflight", type=click.IntRange(min=1), help="The most requests at once.")
@click.option(
    "--window",
    type=click.IntRange(min=1),
    help="The most samples in progress. [default: 2048; 20000 with ?batch=true]",
)
@time_option
@limit_options
@click.option("--cache", type=click.Choice(["on", "off", "refresh", "only"]), help="Use another cache mode.")
@click.option(
    "--allow-changed",
    is_flag=True,
    help="Go on although the task has changed; the run is marked as mixed, and not ranked.",
)
@store_option
@json_option
@quiet_option
def resume(runs: tuple[str, ...], store_url: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Complete runs that were stopped or had errors: ask only for missing answers.

    RUNS are run ids, unique prefixes of them, or 'latest'.
    """

    async def work(drive: RunBatch) -> None:
        from evalkit.run import runner

        for name in runs:
            stored = drive.store.runs.get(name)
            if stored.status == "complete":
                echo(f"Run {stored.id} is complete: no answer is missing.", err=True)
            await drive(partial(runner.resume, stored, drive.store), f"run {stored.id}")

    sys.exit(RunBatch(store_url, as_json, quiet, options, create_store=False).main(work))
