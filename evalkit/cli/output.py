"""The output of commands: one JSON document, or tables. Logs and progress go to stderr."""

from __future__ import annotations

import builtins
import math
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from evalkit.cli.details import Details
from evalkit.requests import encoded
from evalkit.store.records import MetricInfo, Run, RunSpec
from evalkit.types import Estimate
from evalkit.util.masking import mask_bytes
from evalkit.util.money import dollars
from evalkit.util.printable import printable, printable_json

if TYPE_CHECKING:
    from evalkit.compare.image_ablation import Reliance
    from evalkit.store.store import Store


def command() -> str:
    """Return how to call evalkit again: ``evalkit``, or its path where it is not on the search path."""
    beside = Path(sys.executable).parent / "evalkit"
    if shutil.which("evalkit"):
        return "evalkit"
    try:
        return os.path.relpath(beside)
    except FileNotFoundError:  # the working directory was deleted
        return str(beside)


def in_store() -> str:
    """Return the option that names the store of this call; empty where the call named none."""
    context = click.get_current_context(silent=True)
    named = context.params.get("store_url") if context else None
    return f" --store {shlex.quote(named)}" if named else ""


def echo(text: object = "", *, err: bool = False, bold: bool = False, nl: bool = True) -> None:
    """Print text on stdout or stderr: all that a command prints, except tables, goes through here."""
    click.secho(printable(str(text)), err=err, bold=bold or None, nl=nl)


_out = 1


def keep_stdout_for_json() -> None:
    """Send all later prints to stderr, also those of task files and workers; only JSON goes to stdout."""
    global _out
    _out = os.dup(1)
    os.dup2(2, 1)


def print_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    plain = msgspec.to_builtins(document, enc_hook=str, str_keys=True)
    raw = msgspec.json.format(mask_bytes(encoded(plain)), indent=2)
    with open(_out, "wb", closefd=False) as stdout:
        stdout.write(printable_json(raw) + b"\n")


class Failures(NamedTuple):
    """The failures of an incomplete run: each with the number of its samples, and one of the messages.

    ``metrics`` are by metric (``Samples.unscored``), ``errors`` by the error's type (``Samples.errors``).
    """

    metrics: Mapping[str, tuple[int, str]] = {}
    errors: Mapping[str, tuple[int, str]] = {}


def failures_of(store: Store, runs: Iterable[Run]) -> dict[str, Failures]:
    """Return the failures of each run that is incomplete, by its id."""
    return {
        run.id: Failures(store.samples.unscored(run.id), store.samples.errors(run.id))
        for run in runs
        if not run.is_complete
    }


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
        **({"mixed": run.spec.provenance["mixed"]} if "mixed" in run.spec.provenance else {}),
        **({"sampling": run.spec.sampling} if run.spec.sampling else {}),
        "metrics": _estimates(run.metrics),
        "slices": {part: _estimates(metrics) for part, metrics in run.slices.items()},
        "tokens": msgspec.to_builtins(run.tokens),
        "calls": run.calls,
        "calls_from_cache": run.calls_from_cache,
        "wall_s": round(run.wall_s, 3),
        "cost": run.cost,
        "judge_cost": run.judge_cost,
        **{
            name: run.spec.provenance[name]
            for name in ("cached", "forecast", "prices", "secrets_masked", "spent")
            if name in run.spec.provenance
        },
        **({"judged": run.spec.provenance["judged"]} if "judged" in run.spec.provenance else {}),
        **({"notes": run.spec.provenance["notes"]} if "notes" in run.spec.provenance else {}),
        **({"left_out": refused} if (refused := run.spec.left_out) else {}),
        **{
            name: {what: {"n": n, "error": error} for what, (n, error) in entries.items()}
            for name, entries in listed.items()
            if entries
        },
        **{name: found for name, found in (details or Details())._asdict().items() if found},
        **({"without_value": names} if (names := without_value(run, failures)) else {}),
    }


def without_value(run: Run, failures: Failures | None = None) -> list[str]:
    """Return the metrics that apply to no sample of a run; not those that failed on samples."""
    names = (info.name for info in run.spec.metrics if run.n)
    failed = failures.metrics if failures else {}
    return [name for name in names if name not in run.metrics and name not in failed]


def no_values(missing: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Return the lines that name metrics which apply to no sample: of pairs of a task and such metrics."""
    lines = [
        f"{task}: no value of {', '.join(names)}, since no sample has what "
        f"{'it needs' if len(names) == 1 else 'they need'}."
        for task, names in missing
        if names
    ]
    return list(dict.fromkeys(lines))


def resume_hint(spec: RunSpec | None) -> str:
    """Return the command that resumes a run; empty where it cannot be resumed."""
    if spec is None or spec.reproduction.given:
        return ""
    return f" Go on with: {command()} resume {spec.id}{in_store()}"


def incomplete_reasons(run: Run, failures: Failures) -> str:
    """Return why a run is incomplete, one reason a line, and the command that mends it, if one does."""
    own = [kind for kind in failures.errors if _is_of_code(kind)]
    again = run.n < (run.spec.n_expected or 0) or len(own) < len(failures.errors)
    lines = [f"Run {run.id} is {run.status}." + (resume_hint(run.spec) if again else "")]
    lines += [
        f"  {n:,} of {run.n:,} samples failed with {kind}. One of them: {error}"
        for kind, (n, error) in failures.errors.items()
    ]
    if own:
        lines.append(f"  A resume does not mend {', '.join(own)}: mend the task, then run it anew")
    reasons: dict[tuple[int, str], list[str]] = {}
    for metric, failed in failures.metrics.items():
        reasons.setdefault(failed, []).append(metric)
    lines += [
        f"  No score on {n:,} of {run.n:,} samples: {', '.join(metrics)}. One of them: {error}"
        for (n, error), metrics in reasons.items()
    ]
    if reasons:
        lines.append(f"  Once the metric is mended: {command()} rescore {run.id}{in_store()}")
    if problem := run.spec.provenance.get("aggregation_error"):
        lines.append(f"  No score over all samples together: {problem}")
    return "\n".join(lines)


def _is_of_code(kind: str) -> bool:
    """Return whether an error of this type is a fault of the task's code, which a resume does not mend."""
    found = getattr(builtins, kind, None)
    return kind == "UsageError" or (
        isinstance(found, type) and issubclass(found, BaseException) and not issubclass(found, OSError)
    )


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


def cell(estimate: Estimate | None) -> str:
    """Return ``0.312 [0.290, 0.334]``; for an incomplete run the bounds, with a question mark.

    An infinite interval is ``[undetermined]``: the values of an unbounded metric are all equal, or only one.
    """
    if estimate is None:
        return "–"
    digits = 3 if abs(estimate.value) < 10 else 1
    low, high = estimate.bounds or estimate.ci
    mark = "?" if estimate.bounds else ""
    known = math.isfinite(low) or math.isfinite(high)
    interval = f"{low:.{digits}f}, {high:.{digits}f}" if known else "undetermined"
    return f"{estimate.value:.{digits}f}{mark} [{interval}]"


def counted(n: int, noun: str) -> str:
    """Return a count with its noun: ``1 document``, ``1,024 documents``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


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
    yield "samples", lambda r: f"{r.n}" if r.is_complete else f"{r.n}/{r.spec.n_expected} {r.status}"
    yield "chosen", lambda r: f"{r.spec.sampling.how}, seed {r.spec.sampling.seed}" if r.spec.sampling else ""
    yield "mixed", lambda r: ", ".join(r.spec.provenance.get("mixed", ()))
    yield "ended", lambda r: ", ".join(f"{n} {s}" for s, n in sorted(r.counts.items())) or "–"
    yield "tokens in/out", _tokens
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
    asked = run.spec.provenance.get("judged", {}).get("asked") and run.calls
    unknown = run.judge_cost is None and run.cost is not None
    return dollars(run.judge_cost) if run.judge_cost or asked or unknown else ""


def _spent(run: Run) -> str:
    """Return what was paid, where that is more than the stored samples cost."""
    paid, stored = sum(run.spec.provenance.get("spent", {}).values()), (run.cost or 0) + (run.judge_cost or 0)
    return dollars(paid) if paid > 1.005 * stored else ""


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
