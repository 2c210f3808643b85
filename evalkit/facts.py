"""What parts of the core tell each other about an answer.

These facts are kept in ``Answer.metadata``, beside those of the task itself. Their names are taken.

    kind       written by             read by
    Shown      evalkit.rag.arms       metrics of citations and of abstaining
    Chosen     evalkit.choice.asking  accuracy, brier, ece
    Reviewed   evalkit.judge.review   evalkit.metrics.judged
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from evalkit.errors import MetricError
from evalkit.protocols import Relation
from evalkit.types import Answer


class Shown(Struct, frozen=True, omit_defaults=True):
    """What a RAG task showed: ``answerable`` says whether the right reply is an answer (None: nobody says),
    ``withheld`` that the evidence was kept back by design."""

    answerable: bool | None = None
    withheld: bool = False


class Chosen(Struct, frozen=True, omit_defaults=True):
    """Of a choice the options picked in each order that was shown, and the options' probabilities: a number
    of any kind for each option, None where the method knows none."""

    picks: list[int | None] = []
    probabilities: Any = None


class CitedSentence(Struct, frozen=True):
    """A sentence of the reply and the passages that it cites, as indices (None: a mark that points nowhere).

    ``alone`` is what the judge says of each, ``together`` whether all of them entail the sentence, ``needed``
    for each whether the sentence needs it: it entails the sentence alone, or the others do not without it.
    """

    sentence: str
    cited: list[int | None]
    alone: list[Relation]
    together: bool
    needed: list[bool]


class Claims(Struct, frozen=True):
    """The claims of reply and reference, and which of them the other text and each passage entail.

    The tables by passages are None where the model was shown none by design.
    """

    reply: list[str]
    reference: list[str]
    reply_by_reference: list[bool]
    reference_by_reply: list[bool]
    reply_by_passages: list[list[bool]] | None = None
    reference_by_passages: list[list[bool]] | None = None


class Verdicts(Struct, frozen=True):
    """What a judge said, as far as it was asked. ``error``: why there are no verdicts, where a judge's word
    could not be read."""

    judge: str = ""
    citations: list[CitedSentence] | UnsetType | None = UNSET
    claims: Claims | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Reviewed(Struct, frozen=True, omit_defaults=True):
    """A judge's verdicts; None where no judge was asked."""

    judged: Verdicts | None = None


T = TypeVar("T", Shown, Chosen, Reviewed)


def read(answer: Answer, kind: type[T]) -> T:
    """Return the facts of one kind. Raises ``MetricError`` where something else stands under their names."""
    try:
        return msgspec.convert(answer.metadata, kind)
    except msgspec.ValidationError as error:
        raise MetricError(f"answer.metadata holds no facts of the kind {kind.__name__}: {error}") from None


def noted(answer: Answer, facts: Struct) -> Answer:
    """Return the answer with these facts."""
    return msgspec.structs.replace(answer, metadata=answer.metadata | msgspec.to_builtins(facts))
