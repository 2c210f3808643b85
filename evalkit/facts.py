"""Facts about an answer that one part of the core writes and another reads.

They are kept in ``Answer.metadata``, beside the facts of the task, which must not use their names.

    kind       written by             read by
    Shown      evalkit.rag.arms       metrics of citations and of abstaining
    Searched   evalkit.rag.agent      the RAG report
    Conversed  evalkit.agent          evalkit.store.turns: the command show, the board
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
    """Facts about the passages of a RAG task. ``answerable``: the right reply is an answer (None: not known).
    ``withheld``: the evidence was left out by design."""

    answerable: bool | None = None
    withheld: bool = False


class Search(Struct, frozen=True):
    """One search that a model made: its query, the passages asked for, the documents not found before."""

    query: str
    k: int
    found: list[str]


class Searched(Struct, frozen=True, omit_defaults=True):
    """The searches of a model that searches itself, in order; None in all other arms."""

    searches: list[Search] | None = None


class ToolUse(Struct, frozen=True, omit_defaults=True):
    """A call of a tool in the reply number ``turn``, from 1; see ``evalkit.agent.CalledTool``."""

    turn: int
    name: str
    seconds: float = 0.0
    problem: str | None = None


class Replied(Struct, frozen=True, omit_defaults=True):
    """A reply in a conversation: its tokens, its duration, and its reasoning unless it is the last one."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    from_cache: bool = False
    reasoning: str = ""


class Dialogue(Struct, frozen=True):
    """Facts about a conversation. The messages are the sample's requests, and the last one its response.

    ``results`` are the results of the last reply's calls, where no request holds them because the
    conversation ended with them.
    """

    turns: int
    stopped: str
    unknown_tools: int = 0
    broken_arguments: int = 0
    tool_failures: int = 0
    tool_calls: list[ToolUse] = []
    replies: list[Replied] = []
    results: list[dict[str, Any]] = []


class Conversed(Struct, frozen=True, omit_defaults=True):
    """The conversation of the model with its tools and its user; None where there was none."""

    conversation: Dialogue | None = None


class Chosen(Struct, frozen=True, omit_defaults=True):
    """The option picked in each order that was shown, and the probabilities of the options: one number for
    each option, None where the method gives none."""

    picks: list[int | None] = []
    probabilities: Any = None


class Support(Struct, frozen=True):
    """Whether passages entail a sentence ``together``, and which of them are ``needed`` for it: such a
    passage entails the sentence alone, or the others do not without this passage."""

    together: bool
    needed: list[bool]


class CitedSentence(Struct, frozen=True):
    """A sentence of the reply and the passages that it cites, as indices (None: no such passage).

    ``alone`` is the judge's relation of each passage to the sentence. ``together`` and ``needed`` are the
    ``Support`` by all passages; ``first_three`` that by the first three, where there are more.
    """

    sentence: str
    cited: list[int | None]
    alone: list[Relation]
    together: bool
    needed: list[bool]
    first_three: Support | None = None


class Claims(Struct, frozen=True):
    """The claims of reply and reference, and whether the other text and each passage entail them.

    The tables by passages are None where the prompt had no passages by design.
    """

    reply: list[str]
    reference: list[str]
    reply_by_reference: list[bool]
    reference_by_reply: list[bool]
    reply_by_passages: list[list[bool]] | None = None
    reference_by_passages: list[list[bool]] | None = None


class Verdicts(Struct, frozen=True):
    """A judge's verdicts. ``UNSET``: not requested. ``error``: why the judge's reply could not be read."""

    judge: str = ""
    citations: list[CitedSentence] | UnsetType | None = UNSET
    claims: Claims | UnsetType = UNSET
    error: str | UnsetType = UNSET


class Reviewed(Struct, frozen=True, omit_defaults=True):
    """A judge's verdicts; None where no judge was asked."""

    judged: Verdicts | None = None


T = TypeVar("T", Shown, Searched, Conversed, Chosen, Reviewed)


def read(answer: Answer, kind: type[T]) -> T:
    """Return the facts of one kind. Raises ``MetricError`` where a value has another type."""
    try:
        return msgspec.convert(answer.metadata, kind)
    except msgspec.ValidationError as error:
        raise MetricError(f"answer.metadata holds no facts of the kind {kind.__name__}: {error}") from None


def noted(answer: Answer, facts: Struct) -> Answer:
    """Return the answer with ``facts`` in its metadata."""
    return msgspec.structs.replace(answer, metadata=answer.metadata | msgspec.to_builtins(facts))
