"""Replies that were made elsewhere, in a file: evaluated in place of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from evalkit.collection.items import Item
from evalkit.data.source_location import Row
from evalkit.data.tables import table_rows
from evalkit.errors import CorpusError, RequestRejected, SetupError, UsageError, did_you_mean
from evalkit.models.openai.endings import ending_notes, finish_reason
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.reading.reasoning import UNFINISHED, is_unfinished, template_mark
from evalkit.types import Answer, Passage, Request, Requirements, Response, Sample, ServerInfo


class Prediction(msgspec.Struct, frozen=True):
    """One reply of the file: ``id`` and ``prediction`` (or ``reply``), and optionally what was retrieved.

    A reply that is null is empty, as servers send it. ``finish_reason`` is any vendor's word.
    """

    id: str | int
    prediction: str | UnsetType | None = UNSET
    reply: str | UnsetType | None = UNSET
    repeat: int = 0
    passages: tuple[Passage, ...] | None = None
    ranking: tuple[str, ...] | None = None
    finish_reason: str | None = None

    @property
    def text(self) -> str | None:
        """The model's reply; None where the line has neither ``prediction`` nor ``reply``."""
        said = self.prediction if self.reply is UNSET else self.reply
        return None if isinstance(said, UnsetType) else said or ""


Key = tuple[str, int]
Fields = Mapping[str, str]

FIELDS = Prediction.__struct_fields__


def parse_fields(text: str) -> Fields:
    """Return the fields of a file of another shape: ``id=qid,prediction=output.text`` by ours.

    Raises ``UsageError`` for a text of another form and an unknown field.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, equals, path in pairs:
        if not equals or not path.strip():
            raise UsageError(f"--fields {text}: write it as id=NAME,prediction=NAME")
        if name.strip() not in FIELDS:
            raise UsageError(
                f"--fields {text}: there is no field {name.strip()!r}.{did_you_mean(name, FIELDS)} "
                f"Known: {', '.join(FIELDS)}"
            )
    return {name.strip(): path.strip() for name, _, path in pairs}


def read_predictions(path: Path, fields: Fields | None = None) -> dict[Key, Prediction]:
    """Return all predictions of a file by sample id and repeat.

    The file is JSON Lines, or any other layout of ``evalkit.data.tables``. ``fields`` says which fields of
    the file are which of ours; a name with dots goes into objects and lists (``choices.0.text``).
    Raises ``UsageError`` with file and line for a line that is no prediction or repeats one.
    """
    predictions: dict[Key, Prediction] = {}
    places: dict[Key, str] = {}
    rows = table_rows(path)
    try:
        for row in rows:
            prediction = _prediction(row, fields or {})
            key = (str(prediction.id), prediction.repeat)
            if key in predictions:
                repeat = f" (repeat {prediction.repeat})" if prediction.repeat else ""
                raise UsageError(
                    f"{row.place}: a second prediction for {key[0]!r}{repeat}; the first is on line "
                    f"{places[key]}. Number several draws of one sample with 'repeat': 0, 1, …"
                )
            predictions[key], places[key] = prediction, row.place.rpartition(":")[2]
    except CorpusError as error:
        raise UsageError(str(error)) from None
    if not predictions:
        raise UsageError(f"{path}: there are no predictions in it")
    return predictions


def _prediction(row: Row, fields: Fields) -> Prediction:
    """Return the prediction of a row. Raises ``UsageError`` with its place."""
    named = {name: found for name, path in fields.items() if (found := _at(row, path)) is not UNSET}
    there = ", ".join(row)
    for name in ("id", "prediction", "reply"):
        if name in fields and name not in named:
            raise UsageError(f"{row.place}: there is no field {fields[name]!r} for {name}; it has {there}")
    try:
        prediction = msgspec.convert({**row, **named}, Prediction)
    except msgspec.ValidationError as error:
        hint = "" if "id" in {**row, **named} else f"; it has {there}: name the field with --fields id=NAME"
        raise UsageError(f"{row.place}: {error}{hint}") from None
    if prediction.text is None:
        raise UsageError(
            f"{row.place}: there is neither 'prediction' nor 'reply'; it has {there}: name the field with "
            "--fields prediction=NAME"
        )
    if prediction.repeat < 0:
        raise UsageError(f"{row.place}: repeat is {prediction.repeat}; it counts from 0")
    return prediction


def _at(row: Any, path: str) -> Any:
    """Return the value of a field, or of one inside it (``choices.0.text``); UNSET where there is none."""
    if isinstance(row, Mapping) and path in row:
        return row[path]
    name, dot, rest = path.partition(".")
    if isinstance(row, Mapping):
        inner = row.get(name, UNSET)
    elif isinstance(row, list) and name.isdigit() and int(name) < len(row):
        inner = row[int(name)]
    else:
        return UNSET
    return _at(inner, rest) if dot else inner


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
    """Answers every request of a sample with the file's prediction for the sample and repeat.

    ``marks`` open and close reasoning in the file's replies, besides those that evalkit knows.
    """

    traits = BackendTraits(cacheable=False)

    def __init__(
        self, name: str, predictions: dict[Key, Prediction], marks: tuple[str, str] | None = None
    ) -> None:
        self.name, self._predictions = name, predictions
        self.traits = msgspec.structs.replace(self.traits, reasoning_marks=marks)
        self._opened_by = template_mark((line.text or "" for line in predictions.values()), marks)

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
        word, finish = prediction.finish_reason, finish_reason(prediction.finish_reason)
        if finish == "abort":
            raise RequestRejected(
                f"the file says that its reply was given up half-way (finish_reason {word!r})"
            )
        notes = ending_notes(word, finish)
        if self._opened_by and is_unfinished(prediction.text, self._opened_by, self.traits.reasoning_marks):
            notes = (*notes, UNFINISHED)
            return Response(
                text="", reasoning=prediction.text, model=self.name, finish_reason=finish, notes=notes
            )
        return Response(text=prediction.text, model=self.name, finish_reason=finish, notes=notes)

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
