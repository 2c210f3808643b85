"""What is missing in the scores of a run, why, and the command that mends it."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from evalkit.cli.output import command, in_store
from evalkit.store.records import Run, RunSpec

if TYPE_CHECKING:
    from evalkit.store.store import Store


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
