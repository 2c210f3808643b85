"""Options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import click

store_option = click.option(
    "--store", "store_url", metavar="URL", help="The score store [default: .evalkit/evalkit.db]."
)
keyword_option = click.option(
    "-k", "keyword", metavar="EXPR", help="Only items whose node id matches: 'rag and not oracle'."
)
tags_option = click.option(
    "-m", "tags", multiple=True, metavar="EXPR", help="Only tasks with these tags: 'rag and not vqa'."
)
include_option = click.option(
    "--include-path",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with YAML files of lm-eval, for the tasks lm_eval/NAME.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
metric_option = click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="CALL",
    help="Add a metric, written as in a task file: 'bertscore(truncate=True)'. Repeat for several.",
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


def _marks(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, str] | None:
    """Return the two marks of ``OPEN,CLOSE``."""
    from evalkit.models.reasoning import read_marks

    try:
        return None if value is None else read_marks(value)
    except ValueError as problem:
        raise click.BadParameter(f"{value!r}: {problem}", ctx, param) from None


marks_option = click.option(
    "--reasoning-marks",
    "marks",
    callback=_marks,
    metavar="OPEN,CLOSE",
    help="What opens and closes reasoning in replies, besides the marks that evalkit knows.",
)


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return ``90``, ``90s``, ``30m``, ``12h`` or ``2d`` in seconds."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
    if match is None or not float(match[1]):
        raise click.BadParameter(f"{value!r}: write it as 90s, 30m or 12h", ctx, param)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


time_option = click.option(
    "--time-limit",
    callback=_seconds,
    metavar="TIME",
    help="Stop after 90s, 30m or 12h as Ctrl-C does: finished samples are stored; resume asks for the rest.",
)


def _limit(what: str, least: float) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    """Return the reader of a limit: ``5``, ``0.5`` or ``2e6``, of ``what``, from ``least`` on."""

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not least <= number < math.inf:  # NaN is not, either
            raise click.BadParameter(f"{value!r}: must be {what}", ctx, param)
        return number

    return read


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--max-cost`` and ``--max-tokens``."""
    cost = click.option(
        "--max-cost",
        callback=_limit("a number of US dollars above 0, such as 5 or 0.50", least=math.ulp(0.0)),
        metavar="DOLLARS",
        help="Stop when this command has spent this amount; resume goes on.",
    )
    tokens = click.option(
        "--max-tokens",
        callback=_limit("a number of tokens, 1 or more, such as 500000 or 2e6", least=1),
        metavar="N",
        help="Stop when this command has used N tokens, of prompts and replies together. For the length of a "
        "reply, write ?max_tokens=N behind the model.",
    )
    return cost(tokens(command))
