"""Facts from earlier runs in the store: the lengths of replies by sample, and the model that answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evalkit.errors import SetupError
from evalkit.types import ServerInfo

if TYPE_CHECKING:
    from evalkit.collection.items import Item
    from evalkit.store.records import Run
    from evalkit.store.store import Store

# Longer runs are not read: the scheduler learns the lengths during a run, and reading them costs more than
# the minute that they save at its end.
MOST_LENGTHS = 100_000


def earlier_lengths(store: Store, item: Item, model: str) -> dict[str, float]:
    """Return the tokens of a reply by sample id, from the most similar earlier run of the task.

    A run of the same model (``model`` is its spec) comes first, then one with the same parameters, then the
    latest.
    """
    head = model.partition("@")[0]
    served = (
        run
        for run in store.runs.find(task=item.task.name, limit=50)
        if not run.spec.model_spec.startswith("baseline:")
    )
    runs = [run for run in served if 0 < run.n <= MOST_LENGTHS]

    def similarity(run: Run) -> tuple[bool, bool]:
        return run.spec.model_spec.partition("@")[0] == head, run.spec.task == item.id

    return store.samples.lengths(max(runs, key=similarity).id) if runs else {}


def earlier_probe(store: Store, model: str) -> tuple[str, ServerInfo] | None:
    """Return the name and facts of a model from the latest run with this spec; None for a baseline.

    Raises ``SetupError`` where there is no such run.
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
        f"--cache only: no run in the store has asked {model} yet, so its name and facts are not known. "
        "Run it once with --cache on"
    )


def asked_elsewhere(store: Store, run: Run) -> Run | None:
    """Return the latest run of a model with this name at another address: it may be a different model."""
    here = _address(run)
    others = (other for other in store.runs.find(model=run.spec.model, limit=50) if other.id != run.id)
    return next((other for other in others if here and _address(other) not in ("", here)), None)


def _address(run: Run) -> str:
    """Return the URLs in the spec of a run's model; empty where a configuration file holds them."""
    return run.spec.model_spec.casefold().partition("@http")[2].partition("?")[0]
