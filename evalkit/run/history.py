"""Facts from earlier runs in the store: calls and lengths of replies by sample, the model that answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.errors import SetupError
from evalkit.types import ServerInfo

if TYPE_CHECKING:
    from evalkit.collection.items import Item
    from evalkit.store.records import Calls, Run
    from evalkit.store.store import Store

# Longer runs are not read: the scheduler learns the lengths during a run, and reading them costs more than
# the minute that they save at its end.
MOST_LENGTHS = 100_000
MOST_CUT = 0.1  # the share of cut replies up to which a run tells how long replies are


def earlier_lengths(store: Store, item: Item, model: str) -> dict[str, float]:
    """Return the tokens of a reply by sample id, from the most similar earlier run of the task.

    A run of the same model (``model`` is its spec) comes first, then one with the same parameters, then the
    latest.
    """
    run = _most_similar(store, item, model)
    return store.samples.lengths(run.id) if run else {}


def _most_similar(store: Store, item: Item, model: str) -> Run | None:
    """Return a run of the same model, if there is one; then with the same parameters; then the latest.

    Of equally similar runs, one with many cut replies comes last: it does not tell how long they are.
    """
    runs = [run for run in store.runs.find(task=item.task.name, limit=50) if _is_served(run)]
    wanted = _name_and_parameters(model)

    def similarity(run: Run) -> tuple[bool, bool, bool, bool]:
        name, parameters = _name_and_parameters(run.spec.model_spec)
        few_cut = run.counts.get("truncated", 0) <= MOST_CUT * run.n
        return name == wanted[0], run.spec.task == item.id, parameters == wanted[1], few_cut

    return max(runs, key=similarity, default=None)


def _is_served(run: Run) -> bool:
    return 0 < run.n <= MOST_LENGTHS and not run.spec.model_spec.startswith("baseline:")


def _name_and_parameters(model: str) -> tuple[str, str]:
    """Return the parts of a model's spec around its address."""
    head, _, parameters = model.partition("?")
    return head.partition("@http")[0], parameters


@dataclass(frozen=True)
class Earlier:
    """What an earlier run tells of a new one. ``calls``: of the samples of a run of the same task, by id.

    ``same_variant``: with the same parameters of the task, so that its prompts are the same; ``same_model``:
    by the same model with the same parameters. ``per_character``: tokens for each character of a prompt, in
    another run of the model; 0 if there is none.
    """

    run_id: str = ""
    same_variant: bool = True
    same_model: bool = False
    calls: Mapping[str, Calls] = field(default_factory=dict)
    per_character: float = 0.0

    @property
    def alike(self) -> bool:
        """Whether the earlier run asked the same model the same."""
        return self.same_model and self.same_variant


def earlier_calls(store: Store, item: Item, model: str) -> Earlier:
    """Return what earlier runs tell of calls and tokens."""
    wanted = _name_and_parameters(model)
    of_model = (
        run
        for run in store.runs.find(limit=50)
        if _is_served(run) and _name_and_parameters(run.spec.model_spec)[0] == wanted[0]
    )
    other = next(of_model, None)
    per_character = _tokens_per_character(store, other) if other else 0.0
    run = _most_similar(store, item, model)
    if run is None or not (calls := store.samples.calls(run.id)):
        return Earlier(per_character=per_character)
    same_model = _name_and_parameters(run.spec.model_spec) == wanted
    return Earlier(run.id, run.spec.task == item.id, same_model, calls, per_character)


def _tokens_per_character(store: Store, run: Run) -> float:
    """Return the mean over the first samples of a run whose prompts are text alone; 0 without any."""
    tokens = length = 0
    for record in store.samples.records(run.id, sequences=range(40)):
        texts = [_text(request) for request in record.requests]
        if None not in texts:
            tokens += record.tokens.prompt
            length += sum(len(text or "") for text in texts)
    return tokens / length if length else 0.0


def _text(request: Mapping[str, Any]) -> str | None:
    """Return the text of a stored request; None where it holds other parts."""
    contents = [message["content"] for message in request.get("messages", ())]
    if not all(isinstance(content, str) for content in contents):
        return None
    return "".join([*contents, request.get("prompt", ""), request.get("continuation", "")])


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
