"""Scores for other programs and for papers: CSV, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from evalkit.cli.output import cell, echo
from evalkit.extras import load
from evalkit.store.records import Run
from evalkit.util.spreadsheet import to_csv


def print_table(runs: Sequence[Run], form: str) -> None:
    """Print scores: ``csv`` with a line for each run and metric, ``markdown`` or ``latex`` tables by task.

    Raises ``NotInstalled`` where a package for ``latex`` is missing."""
    if form == "csv":
        lines = list(_lines(runs))
        echo(to_csv(list(lines[0]), [list(line.values()) for line in lines]) if lines else "", nl=False)
        return
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.spec.task, []).append(run)
    for task, group in by_task.items():
        names = list(dict.fromkeys(m.name for r in group for m in r.spec.metrics if m.name in r.metrics))
        rows = [[r.spec.model, _samples(r), *(cell(r.metrics.get(name)) for name in names)] for r in group]
        echo((_markdown if form == "markdown" else _latex)(task, ["model", "samples", *names], rows))


def _samples(run: Run) -> str:
    return f"{run.n}" if run.is_complete else f"{run.n}/{run.spec.n_expected} {run.status}"


def _lines(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Yield the lines. ``low`` and ``high`` are the interval, or the bounds of an incomplete run."""
    for run in runs:
        for info in run.spec.metrics:
            if (estimate := run.metrics.get(info.name)) is None:
                continue
            low, high = estimate.bounds or estimate.ci
            yield {
                "run": run.id,
                "task": run.spec.task,
                "model": run.spec.model,
                "status": run.status,
                "metric": info.name,
                "value": estimate.value,
                "low": low,
                "high": high,
                "se": estimate.se,
                "n": estimate.n,
                "method": "bounds" if estimate.bounds else estimate.method,
                "higher_is_better": info.higher_is_better,
                "samples": run.n,
                "errors": run.counts.get("error", 0),
                "calls": run.calls,
                "calls_from_cache": run.calls_from_cache,
                "prompt_tokens": run.tokens.prompt,
                "completion_tokens": run.tokens.completion,
                "cost": run.cost,
                "judge_cost": run.judge_cost,
                "wall_s": round(run.wall_s, 3),
            }


def _markdown(task: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    table = ("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
    return "\n".join([f"**{task}**", "", *table, ""])


def _latex(task: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that needs ``\\usepackage{booktabs}``."""
    pandas = load("pandas", "--format latex")
    load("jinja2", "--format latex")  # pandas writes LaTeX with jinja2
    table: str = pandas.DataFrame(list(map(list, rows)), columns=list(head)).to_latex(
        index=False, escape=True, column_format="l" + "r" * (len(head) - 1), caption=None
    )
    return f"% {task}\n{table}"
