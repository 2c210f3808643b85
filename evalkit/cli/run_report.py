"""Runs as reports show them: a JSON document of each, or tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.cli.details import Details
from evalkit.cli.failures import Failures, without_value
from evalkit.cli.output import cell
from evalkit.store.records import MetricInfo, Run
from evalkit.types import Estimate
from evalkit.util.money import dollars

if TYPE_CHECKING:
    from evalkit.compare.image_ablation import Reliance

# What a run's provenance has, and its JSON document too.
_PROVENANCE = ("cached", "forecast", "judged", "mixed", "notes", "prices", "secrets_masked", "spent")


def run_document(
    run: Run, failures: Failures | None = None, details: Details | None = None
) -> dict[str, Any]:
    """Return a run as ``--json`` shows it."""
    listed = {"unscored": failures.metrics, "errors": failures.errors} if failures else {}
    return {
        "id": run.id,
        "task": run.spec.task,
        "model": run.spec.model,
        "status": run.status,
        "n": run.n,
        "n_expected": run.spec.n_expected,
        "counts": run.counts,
        **({"sampling": run.spec.sampling} if run.spec.sampling else {}),
        "metrics": _estimates(run.metrics),
        "slices": {part: _estimates(metrics) for part, metrics in run.slices.items()},
        "tokens": msgspec.to_builtins(run.tokens),
        "calls": run.calls,
        "calls_from_cache": run.calls_from_cache,
        "wall_s": round(run.wall_s, 3),
        "cost": run.cost,
        "judge_cost": run.judge_cost,
        **{name: run.spec.provenance[name] for name in _PROVENANCE if name in run.spec.provenance},
        **({"left_out": refused} if (refused := run.spec.left_out) else {}),
        **{
            name: {what: {"n": n, "error": error} for what, (n, error) in entries.items()}
            for name, entries in listed.items()
            if entries
        },
        **{name: found for name, found in (details or Details())._asdict().items() if found},
        **({"without_value": names} if (names := without_value(run, failures)) else {}),
    }


def _estimates(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    return {
        name: {
            "value": e.value,
            "se": e.se,
            "ci": list(e.ci),
            "n": e.n,
            "method": e.method,
            **({"bounds": list(e.bounds)} if e.bounds else {}),
        }
        for name, e in metrics.items()
    }


def _label(info: MetricInfo, runs: Sequence[Run]) -> str:
    """Return a metric's name, its direction, and the number of scored samples where it is not all of them."""
    arrow = {True: " ↑", False: " ↓", None: ""}[info.higher_is_better]
    counts = [(run.metrics[info.name].n, run.n) for run in runs if info.name in run.metrics]
    if all(n == of for n, of in counts):
        return info.name + arrow
    least, most = min(n for n, _ in counts), max(n for n, _ in counts)
    return f"{info.name}{arrow} n={least}" + (f"–{most}" if most > least else "")


def print_runs(runs: Sequence[Run], details: Mapping[str, Details] = {}) -> None:
    """Print a table for each task: a row for each metric, a column for each model, then counts and costs.

    Below it stand the ``details`` of each run, by its id.
    """
    from evalkit.cli.terminal import Console, Text, new_table
    from evalkit.run.call_facts import reply_notes

    console = Console()
    across = max(1, (console.width - 24) // 25)  # models side by side, each with its interval on one line
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.spec.task, []).append(run)
    parts = [(t, group[i : i + across]) for t, group in by_task.items() for i in range(0, len(group), across)]
    for task, columns in parts:
        table = new_table(task)
        table.add_column("metric")
        for run in columns:
            table.add_column(Text(run.spec.model), justify="right")
        for info in columns[0].spec.metrics:
            if any(info.name in run.metrics for run in columns):
                cells = (cell(run.metrics.get(info.name)) for run in columns)
                table.add_row(Text(_label(info, columns)), *cells)
        table.add_section()
        for label, value in _facts():
            if any(texts := [value(run) for run in columns]):
                table.add_row(label, *(Text(text, style="dim") for text in texts))
        console.print(table)
        for run in columns:
            for note in reply_notes(run):
                console.print(Text(f"{run.spec.model}: {note}"), soft_wrap=True)
            cut, repeats = details.get(run.id, Details())
            if cut:
                console.print(Text(f"{run.spec.model}: {cut.sentence}"), soft_wrap=True)
            if repeats:
                from evalkit.cli.repeats import print_repeats

                print_repeats(run, repeats)


def _facts() -> Iterable[tuple[str, Any]]:
    yield "samples", lambda r: r.size if r.is_complete else f"{r.size} {r.status}"
    yield "chosen", lambda r: f"{r.spec.sampling.how}, seed {r.spec.sampling.seed}" if r.spec.sampling else ""
    yield "mixed", lambda r: ", ".join(r.spec.provenance.get("mixed", ()))
    yield "ended", lambda r: ", ".join(f"{n} {s}" for s, n in sorted(r.counts.items())) or "–"
    yield "tokens in/out", _tokens
    yield "of them reasoning", lambda r: f"{r.tokens.reasoning:,}" if r.tokens.reasoning else ""
    yield "calls (cached)", lambda r: f"{r.calls:,} ({r.calls_from_cache:,})" if r.calls else ""
    yield "oldest from the cache", _oldest
    yield "cost", _cost
    yield "judge's cost", _judge_cost
    yield "spent in all", _spent
    yield "judge asked (cached)", partial(_judged, "asked", "from_cache", "{:,} ({:,})")
    yield "judge's tokens in/out", partial(_judged, "prompt_tokens", "completion_tokens", "{:,}/{:,}")
    yield "judge without verdict", partial(_judged, "unread", "asked", "{:,} of {:,}")
    yield "wall", lambda r: f"{r.wall_s:.1f} s"
    yield "run", lambda r: r.id


def _tokens(run: Run) -> str:
    """Return the tokens of prompts and replies; empty for a run without calls."""
    if not run.calls:
        return ""
    counted = run.tokens.prompt or run.tokens.completion
    return f"{run.tokens.prompt:,}/{run.tokens.completion:,}" if counted else "not counted"


def _oldest(run: Run) -> str:
    """Return when the oldest answer from the cache was written; empty without any."""
    from evalkit.run.call_facts import moment

    uses = run.spec.provenance.get("cached", {}).values()
    return moment(min(times)) if (times := [use["oldest"] for use in uses if use["oldest"]]) else ""


def _cost(run: Run) -> str:
    """Return what the model's calls cost; empty for a model that is free."""
    return "" if not run.calls or (run.cost == 0 and not run.calls_from_cache) else dollars(run.cost)


def _judge_cost(run: Run) -> str:
    """Return what the calls of the judge and of other models cost; empty where there were none."""
    asked = run.spec.provenance.get("judged", {}).get("asked")
    unknown = run.judge_cost is None and run.cost is not None
    return dollars(run.judge_cost) if run.judge_cost or asked or unknown else ""


def _spent(run: Run) -> str:
    """Return what was paid, where that is more than the samples cost: "at least" with unknown prices."""
    paid, stored = sum(run.spec.provenance.get("spent", {}).values()), (run.cost or 0) + (run.judge_cost or 0)
    least = "at least " * (run.cost is None or run.judge_cost is None)
    return least + dollars(paid) if paid > 1.005 * stored and dollars(paid) != dollars(stored) else ""


def _judged(first: str, second: str, form: str, run: Run) -> str:
    """Return two counts of the run's judge; empty without a judge, or where the first count is 0."""
    counts = run.spec.provenance.get("judged", {})
    return form.format(counts[first], counts.get(second, 0)) if counts.get(first) else ""


def print_slices(run: Run) -> None:
    """Print a table of one run: a row for each slice, a column for each metric; nothing without slices."""
    from evalkit.cli.terminal import Console, Text, new_table

    names = [m.name for m in run.spec.metrics if any(m.name in metrics for metrics in run.slices.values())]
    console = Console()
    across = max(1, (console.width - 32) // 24)
    for start in range(0, len(names), across):
        table = new_table(f"{run.spec.task} by slice, {run.spec.model}")
        table.add_column("slice", overflow="fold")
        for name in names[start : start + across]:
            table.add_column(Text(name), justify="right", no_wrap=True)
            table.add_column("n", justify="right", style="dim")
        kind = ""
        for part, metrics in run.slices.items():
            if kind and part.partition("=")[0] != kind:
                table.add_section()
            kind = part.partition("=")[0]
            estimates = [metrics.get(name) for name in names[start : start + across]]
            table.add_row(
                Text(part), *(text for e in estimates for text in (cell(e), str(e.n) if e else "–"))
            )
        console.print(table)


def print_reliance(found: Sequence[Reliance]) -> None:
    """Print how much each vision task loses without its images, and whether the model uses them."""
    from evalkit.cli.terminal import Console, Text, new_table

    console = Console()
    for one in found:
        table = new_table(f"Image reliance of {one.model} on {one.task}")
        table.add_column("metric", overflow="fold")
        table.add_column("images")
        for name in ("score", "real", "real − this"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("uses image")
        refused = any(arm.refused for arm in one.differences)
        if refused:
            table.add_column("no answer", justify="right")
        for arm in one.differences:
            numbers = f"{arm.other:.3f}", f"{arm.real:.3f}", cell(arm.difference)
            uses, counted = "yes" if arm.excludes_zero else "–", [str(arm.refused)] * refused
            table.add_row(Text(arm.metric), arm.arm, *numbers, uses, *counted)
        console.print(table)
        for name, unlike in one.left_out.items():
            text = f"The arm {name} is left out: its run differs from the real arm's in {unlike}."
            console.print(Text(text))
        if refused:
            console.print('No answer: replies such as "I cannot see the image" are left out of the row.')
        if one.warning:
            console.print(Text(one.warning, style="bold"))
