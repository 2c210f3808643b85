"""What commands print: one JSON document, or tables for people. Logs and progress go to stderr."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evalkit.store.records import Run
from evalkit.types import Estimate


def command() -> str:
    """How to call this command again: ``evalkit``, or its path where it is not on the search path."""
    beside = Path(sys.executable).parent / "evalkit"
    return "evalkit" if shutil.which("evalkit") else os.path.relpath(beside)


_out = 1


def keep_stdout_for_json() -> None:
    """From here on all that is printed, also by task files and workers, goes to stderr; JSON to stdout."""
    global _out
    _out = os.dup(1)
    os.dup2(2, 1)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    raw = msgspec.json.format(msgspec.json.encode(document, enc_hook=str), indent=2)
    with open(_out, "wb", closefd=False) as stdout:
        stdout.write(raw + b"\n")


def run_document(run: Run) -> dict[str, Any]:
    """A run as ``--json`` shows it."""
    return {
        "id": run.id,
        "task": run.spec.task,
        "model": run.spec.model,
        "status": run.status,
        "n": run.n,
        "n_expected": run.spec.n_expected,
        "counts": run.counts,
        "metrics": {
            name: {
                "value": e.value,
                "se": e.se,
                "ci": list(e.ci),
                "n": e.n,
                "method": e.method,
                **({"bounds": list(e.bounds)} if e.bounds else {}),
            }
            for name, e in run.metrics.items()
        },
        "tokens": msgspec.to_builtins(run.tokens),
        "calls": run.calls,
        "calls_from_cache": run.calls_from_cache,
        "wall_s": round(run.wall_s, 3),
    }


def cell(estimate: Estimate | None) -> str:
    """``0.312 [0.290, 0.334]``; of an incomplete run the bounds, marked with a question mark."""
    if estimate is None:
        return "–"
    digits = 3 if abs(estimate.value) < 10 else 1
    low, high = estimate.bounds or estimate.ci
    mark = "?" if estimate.bounds else ""
    return f"{estimate.value:.{digits}f}{mark} [{low:.{digits}f}, {high:.{digits}f}]"


def print_runs(runs: Sequence[Run]) -> None:
    """A table for each task: metrics down, models across, then how the samples ended."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    across = max(1, (console.width - 24) // 25)  # models side by side, each with its interval on one line
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.spec.task, []).append(run)
    parts = [(t, some[i : i + across]) for t, some in by_task.items() for i in range(0, len(some), across)]
    for task, columns in parts:
        table = Table(title=Text(task), box=SIMPLE_HEAD, title_justify="left", title_style="bold")
        table.add_column("metric")
        for run in columns:
            table.add_column(Text(run.spec.model), justify="right")
        for info in columns[0].spec.metrics:
            if any(info.name in run.metrics for run in columns):
                arrow = {True: " ↑", False: " ↓", None: ""}[info.higher_is_better]
                table.add_row(info.name + arrow, *(cell(run.metrics.get(info.name)) for run in columns))
        table.add_section()
        for label, value in _facts():
            table.add_row(label, *(Text(value(run), style="dim") for run in columns))
        console.print(table)


def _facts() -> Iterable[tuple[str, Any]]:
    yield "samples", lambda r: f"{r.n}" if r.ranked else f"{r.n}/{r.spec.n_expected} {r.status}"
    yield "ended", lambda r: ", ".join(f"{n} {s}" for s, n in sorted(r.counts.items())) or "–"
    yield "tokens in/out", lambda r: f"{r.tokens.prompt:,}/{r.tokens.completion:,}"
    yield "calls (cached)", lambda r: f"{r.calls:,} ({r.calls_from_cache:,})"
    yield "wall", lambda r: f"{r.wall_s:.1f} s"
    yield "run", lambda r: r.id
