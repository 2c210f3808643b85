"""Scores for other programs and for papers: CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import click

from evalkit.cli.output import cell
from evalkit.extras import load
from evalkit.store.records import Run


def print_table(runs: Sequence[Run], form: str) -> None:
    """``csv``: a line for each run and metric. ``markdown``, ``latex``: for each task its runs down, metrics
    across, each value with its interval. Raises ``NotInstalled`` where pandas is missing."""
    if form == "csv":
        click.echo(_csv(runs), nl=False)
        return
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.spec.task, []).append(run)
    for task, some in by_task.items():
        names = list(dict.fromkeys(m.name for run in some for m in run.spec.metrics if m.name in run.metrics))
        rows = [[r.spec.model, _samples(r), *(cell(r.metrics.get(name)) for name in names)] for r in some]
        click.echo((_markdown if form == "markdown" else _latex)(task, ["model", "samples", *names], rows))


def _samples(run: Run) -> str:
    return f"{run.n}" if run.is_complete else f"{run.n}/{run.spec.n_expected} {run.status}"


def _csv(runs: Sequence[Run]) -> str:
    lines = list(_lines(runs))
    out = io.StringIO()
    if lines:
        writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return out.getvalue()


def _lines(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """``low`` and ``high`` are the interval; of an incomplete run the bounds between which its score lies."""
    for run in runs:
        for info in run.spec.metrics:
            if (made := run.metrics.get(info.name)) is None:
                continue
            low, high = made.bounds or made.ci
            yield {
                "run": run.id,
                "task": run.spec.task,
                "model": run.spec.model,
                "status": run.status,
                "metric": info.name,
                "value": made.value,
                "low": low,
                "high": high,
                "se": made.se,
                "n": made.n,
                "method": "bounds" if made.bounds else made.method,
                "higher_is_better": info.higher_is_better,
                "samples": run.n,
                "errors": run.counts.get("error", 0),
                "calls": run.calls,
                "calls_from_cache": run.calls_from_cache,
                "prompt_tokens": run.tokens.prompt,
                "completion_tokens": run.tokens.completion,
                "wall_s": round(run.wall_s, 3),
            }


def _markdown(task: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = ("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
    return "\n".join([f"**{task}**", "", *table, ""])


def _latex(task: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Needs ``\\usepackage{booktabs}``."""
    pandas = load("pandas", "--format latex")
    load("jinja2", "--format latex")  # pandas writes LaTeX by it
    made: str = pandas.DataFrame(list(map(list, rows)), columns=list(head)).to_latex(
        index=False, escape=True, column_format="l" + "r" * (len(head) - 1), caption=None
    )
    return f"% {task}\n{made}"
