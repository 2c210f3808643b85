"""The runs of one comparison: they differ only in the parameters that the comparison sweeps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from evalkit.store.records import Run

if TYPE_CHECKING:
    from evalkit.store.store import Store


def kind(run: Run, swept: Collection[str]) -> tuple[Any, ...]:
    """Return a key that is equal for all runs of one comparison: task, model, settings without ``swept``.

    Runs with equal keys may still differ: in the task's code, say (``evalkit.store.conditions``).
    """
    spec = run.spec
    fixed = sorted((name, repr(value)) for name, value in spec.params.items() if name not in swept)
    chosen = spec.limit, spec.sampling
    return spec.task_name, spec.model, spec.model_spec, *chosen, spec.repeats, *fixed


def with_siblings(
    store: Store, run: Run, swept: Collection[str], completed: Callable[[list[Run]], list[Run]] = list
) -> list[Run]:
    """Return a run and the complete runs of its kind, newest first.

    ``completed`` adds to runs the parameters that they lack; the completed runs are compared and returned.
    """
    others = store.runs.find(task=run.spec.task_name, model=run.spec.model, status="complete")
    first, *rest = completed([run, *others])
    return [first, *(other for other in rest if kind(other, swept) == kind(first, swept))]
