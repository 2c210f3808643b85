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
    version = spec.provenance.get("task_version")
    rest = sorted((name, repr(value)) for name, value in spec.params.items() if name not in swept)
    return spec.path, spec.task_name, version, spec.model, spec.model_spec, spec.limit, spec.repeats, *rest


def with_siblings(
    store: Store, run: Run, swept: Collection[str], completed: Callable[[list[Run]], list[Run]] = list
) -> list[Run]:
    """Return a run and the complete runs of its kind, newest first.

    ``completed`` returns runs with the parameters that they lack; what it returns is compared.
    """
    others = store.runs.find(task=run.spec.task_name, model=run.spec.model, status="complete")
    first, *rest = completed([run, *others])
    own = kind(first, swept)
    return [first, *(other for other in rest if kind(other, swept) == own)]
