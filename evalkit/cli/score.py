"""``evalkit score``."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.driver import RunBatch
from evalkit.cli.options import json_option, marks_option, metric_option, quiet_option, store_option
from evalkit.cli.output import echo
from evalkit.collection.items import Item
from evalkit.collection.targets import collect
from evalkit.errors import UsageError
from evalkit.util.name_values import parse_name_values

if TYPE_CHECKING:
    from evalkit.models.predictions import Key, Prediction
    from evalkit.run.runner import Options
    from evalkit.run.session import Session
    from evalkit.store.records import Run


@click.command()
@click.argument("task")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="The model's name [default: the file's name].")
@click.option("-p", "params", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the task.")
@click.option(
    "--fields",
    metavar="NAME=FIELD,…",
    help="Which fields of FILE hold what: id=qid,prediction=choices.0.text.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N samples.")
@metric_option
@marks_option
@store_option
@json_option
@quiet_option
def score(
    task: str,
    file: Path,
    name: str | None,
    params: tuple[str, ...],
    fields: str | None,
    limit: int | None,
    metrics: tuple[str, ...],
    marks: tuple[str, str] | None,
    store_url: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score predictions that were made elsewhere, and store them as a run.

    TASK is one item, such as pubmed_rag[arm=closed_book]. FILE has JSON Lines: {"id": …, "prediction": …},
    optionally with "repeat", "passages", "ranking" and "finish_reason"; CSV, JSON, Excel and Parquet files
    are read, too. The ids are those of the task's samples (see docs/tasks.md); --fields names the fields of
    a file of another shape. The task's function reads each prediction as it reads a model's reply. Pictures
    of samples are not needed.
    """
    from evalkit.collection.with_metrics import parse_metric, with_metrics
    from evalkit.models.predictions import PredictionsBackend, parse_fields, read_predictions

    item = _only_item(task, params).with_fixture("pictures", False)
    item = replace(item, task=with_metrics(item.task, metrics))
    predictions = read_predictions(file, parse_fields(fields) if fields else None)
    repeats = 1 + max(repeat for _, repeat in predictions)
    backend = PredictionsBackend(name or file.name.split(".")[0], predictions, marks)
    options = {"limit": limit, "repeat": repeats, "window": 1024, "backend": backend}
    driver = RunBatch(store_url, as_json, quiet, options)
    driver.asked_metrics = {parse_metric(text).name for text in metrics}

    async def work(drive: RunBatch) -> None:
        await drive(partial(_score, item, backend.name, predictions, file, drive), f"{item.id} from {file}")

    sys.exit(driver.main(work))


def _only_item(target: str, params: tuple[str, ...]) -> Item:
    collected = collect([target], params=parse_name_values(params, "-p"))
    if collected.broken:
        raise collected.broken[0]
    items = collected.items
    if len(items) != 1:
        names = ", ".join(item.id for item in items)
        raise UsageError(f"{target} is {len(items)} items and predictions are of one: choose one of {names}")
    return items[0]


async def _score(
    item: Item,
    name: str,
    predictions: dict[Key, Prediction],
    file: Path,
    drive: RunBatch,
    session: Session,
    options: Options,
) -> Run:
    from evalkit.models.predictions import check_ids, searches, with_retrieved
    from evalkit.run import runner
    from evalkit.run.samples import samples_of

    ids = [sample.id async for sample in (await samples_of(item, session))()]
    selected = ids[: options.limit]
    missing = set(check_ids(predictions, ids, str(file))) & set(selected)
    if missing:
        first = next(name for name in selected if name in missing)
        echo(
            f"evalkit: {file} has no prediction for {len(missing)} of {len(selected)} samples, "
            f"such as {first!r}: the run is incomplete, and its scores are bounds",
            err=True,
        )
    if searches(item) and all(one.passages is None and one.ranking is None for one in predictions.values()):
        echo(
            f"evalkit: {file} has neither passages nor rankings: what this system retrieved and cited is not "
            'scored. Add "passages" or "ranking" to its lines',
            err=True,
        )
    return await runner.start(with_retrieved(item, predictions), name, drive.store, session, options)
