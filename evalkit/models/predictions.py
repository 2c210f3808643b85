"""Replies that were made elsewhere, in a JSON Lines file: evaluated in place of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from evalkit.collection.items import Item
from evalkit.errors import RequestRejected, SetupError, UsageError, did_you_mean
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.types import Answer, Passage, Request, Requirements, Response, Sample, ServerInfo


class Prediction(msgspec.Struct, frozen=True):
    """One line of the file: ``id`` and ``prediction`` (or ``reply``), and optionally what was retrieved."""

    id: str | int
    prediction: str | None = None
    reply: str | None = None
    repeat: int = 0
    passages: tuple[Passage, ...] | None = None
    ranking: tuple[str, ...] | None = None
    finish_reason: Literal["stop", "length", "refusal", "abort"] = "stop"

    @property
    def text(self) -> str | None:
        """The model's reply."""
        return self.prediction if self.reply is None else self.reply


Key = tuple[str, int]


def read_predictions(path: Path) -> dict[Key, Prediction]:
    """Return all predictions of a file by sample id and repeat.

    Raises ``UsageError`` with file and line for a line that is no prediction or repeats one.
    """
    predictions: dict[Key, Prediction] = {}
    lines: dict[Key, int] = {}
    decode = msgspec.json.Decoder(Prediction).decode
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if not line.strip():
            continue
        try:
            prediction = decode(line)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}:{number}: {error}") from None
        if prediction.text is None:
            raise UsageError(f"{path}:{number}: there is neither 'prediction' nor 'reply'")
        if prediction.repeat < 0:
            raise UsageError(f"{path}:{number}: repeat is {prediction.repeat}; it counts from 0")
        key = (str(prediction.id), prediction.repeat)
        if key in predictions:
            repeat = f" (repeat {prediction.repeat})" if prediction.repeat else ""
            raise UsageError(
                f"{path}:{number}: a second prediction for {key[0]!r}{repeat}; the first is on line "
                f"{lines[key]}. Number several draws of one sample with 'repeat': 0, 1, …"
            )
        predictions[key], lines[key] = prediction, number
    if not predictions:
        raise UsageError(f"{path}: there are no predictions in it")
    return predictions


def check_ids(predictions: Iterable[Key], sample_ids: Sequence[str], where: str) -> list[str]:
    """Return the samples without any prediction. Raises ``UsageError`` for predictions of unknown samples."""
    predicted = {sample_id for sample_id, _ in predictions}
    unknown = sorted(predicted - set(sample_ids))
    if unknown:
        first = unknown[0]
        raise UsageError(
            f"{where}: {len(unknown)} of {len(predicted)} ids are of no sample here, such as {first!r}."
            f"{did_you_mean(first, sample_ids)} "
            f"The task's ids look like {', '.join(map(repr, sample_ids[:3]))}"
        )
    return [sample_id for sample_id in sample_ids if sample_id not in predicted]


class PredictionsBackend(Backend):
    """Answers every request of a sample with the file's prediction for the sample and repeat."""

    traits = BackendTraits(cacheable=False)

    def __init__(self, name: str, predictions: dict[Key, Prediction]) -> None:
        self.name, self._predictions = name, predictions

    async def send(self, request: Request) -> Response:
        """Return the prediction for sample and repeat. Raises ``RequestRejected`` if there is none."""
        if request.continuation is not None:
            raise SetupError(
                "this task compares log-probabilities, which a file of replies does not hold; choose a "
                "variant that generates, if the task has one"
            )
        sample = request.sample
        prediction = self._predictions.get((sample.id, request.repeat)) if sample else None
        if prediction is None or prediction.text is None:
            raise RequestRejected(f"the file has no prediction for it (repeat {request.repeat})")
        return Response(text=prediction.text, model=self.name, finish_reason=prediction.finish_reason)

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Return the file's name and traits; there is nothing to check."""
        return ProbeResult(
            self.name, ServerInfo({"provider": "predictions", "model": self.name}), self.traits
        )


def with_retrieved(item: Item, predictions: dict[Key, Prediction]) -> Item:
    """Return the same item, with the file's passages and rankings in its answers where the file has them.

    What the task itself retrieves is not what the system behind the file was shown. In the arm ``retrieved``
    an answer without passages and ranking in the file has none, and the settings of the task's own retrieval
    are not shown; in other arms the task says which passages are in the prompt.
    """
    retrieving = searches(item)
    has = [line.passages is not None or line.ranking is not None for line in predictions.values()]
    if not any(has) and not retrieving:
        return item

    def add_retrieved(sample: Sample, model: Any, answer: Answer) -> Answer:
        line = predictions.get((sample.id, model.repeat))
        if line is None or (line.passages is None and line.ranking is None):
            return msgspec.structs.replace(answer, passages=None, ranking=None) if retrieving else answer
        fields: dict[str, Any] = {} if line.ranking is None else {"ranking": line.ranking}
        if line.passages is not None:
            fields["passages"] = line.passages
            documents = tuple(dict.fromkeys(passage.document for passage in line.passages))
            fields.setdefault("ranking", documents)
        return msgspec.structs.replace(answer, **fields)

    answered = item.answered_by(_followed_by(item.task.fn, add_retrieved))
    return replace(answered, unused=_of_retrieval(item)) if retrieving or all(has) else answered


def searches(item: Item) -> bool:
    """Return whether the passages of this item come from the task's retriever."""
    asked = {name for asks in item.resolved.asks.values() for name in asks.fixtures}
    return "retriever" in asked and item.params.get("arm", "retrieved") == "retrieved"


def _of_retrieval(item: Item) -> frozenset[str]:
    """Return the fixture ``retriever``, with the fixtures and parameters that it alone stands on, and k."""
    asks = item.resolved.asks
    kept = set(asks[item.task.samples].names) if callable(item.task.samples) else set()
    found: set[str] = set()
    names = ["retriever"]
    while names:
        name = names.pop()
        fixture = item.resolved.fixtures.get(name)
        if name in found or name in kept or (fixture is None and name not in item.params):
            continue
        found.add(name)
        if fixture is not None and fixture.fn in asks:
            names += asks[fixture.fn].names
    return frozenset(found | ({"k", "position", "query"} & set(item.params) if len(found) > 1 else set()))


def _followed_by(fn: Callable[..., Any], then: Callable[..., Answer]) -> Callable[..., Any]:
    """Return a function with ``fn``'s signature that passes its answer through ``then``."""
    from functools import wraps

    @wraps(fn)
    async def wrapped(sample: Sample, model: Any, **arguments: Any) -> Answer:
        return then(sample, model, await fn(sample=sample, model=model, **arguments))

    return wrapped
