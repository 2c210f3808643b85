"""What earlier runs in the store tell the scheduler: how long the reply to each sample was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from evalkit.models.layers import Prior
from evalkit.types import Request

if TYPE_CHECKING:
    from evalkit.store.records import Run
    from evalkit.store.store import Store

# Of longer runs nothing is remembered: the scheduler learns as it goes, and the memory would cost more than
# the last minute.
MOST_LENGTHS = 100_000


def earlier_lengths(store: Store, task: str, model: str) -> dict[str, float]:
    """Tokens of a reply, by sample id, in the latest run that tells most: of this model on this task and its
    parameters, on the task with others, or of any other served model on the task.

    ``task`` is ``name[k=5]``, ``model`` a spec.
    """
    head = model.partition("@")[0]
    served = (
        run
        for run in store.runs(task=task.partition("[")[0], limit=50)
        if not run.spec.spec.startswith("baseline:")
    )
    runs = [run for run in served if 0 < run.n <= MOST_LENGTHS]

    def tells(run: Run) -> tuple[bool, bool]:
        return run.spec.spec.partition("@")[0] == head, run.spec.task == task

    return store.lengths(max(runs, key=tells).id) if runs else {}


def prior(earlier: Mapping[str, float]) -> Prior:
    """Lengths by sample id as the scheduler asks for them."""

    def tokens(request: Request) -> int | None:
        known = earlier.get(request.sample.id) if request.sample else None
        return None if known is None else round(known)

    return tokens
