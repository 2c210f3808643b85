"""Which runs belong together: those that differ in nothing but the parameters that a comparison sweeps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from evalkit.store.records import Run

if TYPE_CHECKING:
    from evalkit.store.store import Store


def kind(run: Run, swept: Collection[str]) -> tuple[Any, ...]:
    """Return what is equal in all runs of one comparison: task, model and settings without ``swept``."""
    spec = run.spec
    name, version = spec.task.partition("[")[0], spec.provenance.get("task_version")
    rest = sorted((name, repr(value)) for name, value in spec.params.items() if name not in swept)
    return spec.path, name, version, spec.model, spec.spec, spec.limit, spec.repeats, *rest


def with_siblings(
    store: Store, run: Run, swept: Collection[str], completed: Callable[[Run], Run] = lambda run: run
) -> list[Run]:
    """Return a run and the complete runs of its kind, newest first.

    ``completed`` returns a run with the parameters that it lacks; what it returns is compared.
    """
    own = kind(completed(run), swept)
    others = store.runs(task=run.spec.task.partition("[")[0], model=run.spec.model, status="complete")
    return [run, *(other for other in others if kind(completed(other), swept) == own)]
