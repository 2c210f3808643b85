"""Predictions made elsewhere: a JSON Lines file, read whole, in place of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from evalkit.collection.items import Item
from evalkit.errors import RequestRejected, SetupError, UsageError, did_you_mean
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.types import Answer, Passage, Request, Requirements, Response, Sample, ServerInfo


class Prediction(msgspec.Struct, frozen=True):
    """One line: ``id`` and ``prediction`` (or ``reply``), and what was retrieved, where something was."""

    id: str | int
    prediction: str | None = None
    reply: str | None = None
    repeat: int = 0
    passages: tuple[Passage, ...] | None = None
    ranking: tuple[str, ...] | None = None
    finish_reason: Literal["stop", "length", "refusal", "abort"] = "stop"

    @property
    def text(self) -> str | None:
        """What the model said."""
        return self.prediction if self.reply is None else self.reply


Key = tuple[str, int]


def read_predictions(path: Path) -> dict[Key, Prediction]:
    """All predictions of a file by sample id and repeat.

    Raises ``UsageError`` with file and line for a line that is no prediction or says one twice.
    """
    found: dict[Key, Prediction] = {}
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
            one = decode(line)
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}:{number}: {error}") from None
        if one.text is None:
            raise UsageError(f"{path}:{number}: there is neither 'prediction' nor 'reply'")
        if one.repeat < 0:
            raise UsageError(f"{path}:{number}: repeat is {one.repeat}; it counts from 0")
        key = (str(one.id), one.repeat)
        if key in found:
            again = f" (repeat {one.repeat})" if one.repeat else ""
            raise UsageError(
                f"{path}:{number}: a second prediction for {key[0]!r}{again}; the first is on line "
                f"{lines[key]}. Several draws of one sample are told apart by 'repeat': 0, 1, …"
            )
        found[key], lines[key] = one, number
    if not found:
        raise UsageError(f"{path}: there are no predictions in it")
    return found


def check_ids(found: Iterable[Key], known: Sequence[str], where: str) -> list[str]:
    """The samples without any prediction. Raises ``UsageError`` for predictions of unknown samples."""
    predicted = {name for name, _ in found}
    unknown = sorted(predicted - set(known))
    if unknown:
        first = unknown[0]
        raise UsageError(
            f"{where}: {len(unknown)} of {len(predicted)} ids are of no sample here, such as {first!r}."
            f"{did_you_mean(first, known)} The task's ids look like {', '.join(map(repr, known[:3]))}"
        )
    return [name for name in known if name not in predicted]


class PredictionsBackend(Backend):
    """Says for each sample what the file says, however often it is asked; without a word of it, it fails."""

    traits = BackendTraits(cacheable=False)

    def __init__(self, name: str, predictions: dict[Key, Prediction]) -> None:
        self.name, self._predictions = name, predictions

    async def send(self, request: Request) -> Response:
        """The prediction for the request's sample and repeat."""
        if request.continuation is not None:
            raise SetupError(
                "this task compares log-probabilities, which a file of replies does not hold; choose a "
                "variant that generates, if the task has one"
            )
        sample = request.sample
        one = self._predictions.get((sample.id, request.repeat)) if sample else None
        if one is None or one.text is None:
            raise RequestRejected(f"the file has no prediction for it (repeat {request.repeat})")
        return Response(text=one.text, model=self.name, finish_reason=one.finish_reason)

    async def probe(self, needs: Requirements) -> ProbeResult:
        """Find the file: it is there once it was read."""
        return ProbeResult(
            self.name, ServerInfo({"provider": "predictions", "model": self.name}), self.traits
        )


def with_retrieved(item: Item, predictions: dict[Key, Prediction]) -> Item:
    """The same item, whose answers hold what the file says was retrieved, where it says so."""
    if not any(one.passages is not None or one.ranking is not None for one in predictions.values()):
        return item

    def given(sample: Sample, model: Any, answer: Answer) -> Answer:
        one = predictions.get((sample.id, model.repeat))
        if one is None or (one.passages is None and one.ranking is None):
            return answer
        made: dict[str, Any] = {} if one.ranking is None else {"ranking": one.ranking}
        if one.passages is not None:
            made["passages"] = one.passages
            documents = tuple(dict.fromkeys(passage.document for passage in one.passages))
            made.setdefault("ranking", documents)
        return msgspec.structs.replace(answer, **made)

    return item.answered_by(_after(item.task.fn, given))


def _after(fn: Callable[..., Any], then: Callable[..., Answer]) -> Callable[..., Any]:
    """``fn`` with something done to its answer, and its own signature."""
    from functools import wraps

    @wraps(fn)
    async def wrapped(sample: Sample, model: Any, **arguments: Any) -> Answer:
        return then(sample, model, await fn(sample=sample, model=model, **arguments))

    return wrapped
