"""What earlier runs in the store tell: how long the reply to each sample was, and which model answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evalkit.errors import SetupError
from evalkit.types import ServerInfo

if TYPE_CHECKING:
    from evalkit.collection.items import Item
    from evalkit.store.records import Run
    from evalkit.store.store import Store

# Of longer runs nothing is remembered: the scheduler learns as it goes, and the memory would cost more than
# the last minute.
MOST_LENGTHS = 100_000


def earlier_lengths(store: Store, item: Item, model: str) -> dict[str, float]:
    """Tokens of a reply, by sample id, in the latest run that tells most: of this model on this task and its
    parameters, on the task with others, or of any other served model on the task. ``model`` is a spec."""
    head = model.partition("@")[0]
    served = (
        run
        for run in store.runs.find(task=item.task.name, limit=50)
        if not run.spec.model_spec.startswith("baseline:")
    )
    runs = [run for run in served if 0 < run.n <= MOST_LENGTHS]

    def tells(run: Run) -> tuple[bool, bool]:
        return run.spec.model_spec.partition("@")[0] == head, run.spec.task == item.id

    return store.samples.lengths(max(runs, key=tells).id) if runs else {}


def earlier_probe(store: Store, model: str) -> tuple[str, ServerInfo] | None:
    """Name and facts of a model, as the latest run with this spec found them; None for a baseline.

    Raises ``SetupError`` where no run tells.
    """
    if model.startswith("baseline:"):
        return None
    for run in store.runs.find(limit=None):
        if (
            run.spec.model_spec == model
            and not run.spec.reproduction.given
            and "model" in run.spec.provenance
        ):
            return run.spec.model, msgspec.convert(run.spec.provenance["model"], ServerInfo)
    raise SetupError(
        f"--cache only: no run in the store has asked {model} yet, so nothing says which model that is. "
        "Run it once with --cache on"
    )


def asked_elsewhere(store: Store, run: Run) -> Run | None:
    """The latest other run of a model of this name whose address was another one: it may be another model."""
    here = _address(run)
    others = (other for other in store.runs.find(model=run.spec.model, limit=50) if other.id != run.id)
    return next((other for other in others if here and _address(other) not in ("", here)), None)


def _address(run: Run) -> str:
    """The URLs of a run's model as its spec has them; empty where they stand in a configuration."""
    return run.spec.model_spec.partition("@http")[2].partition("?")[0]
