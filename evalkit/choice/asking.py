"""Multiple choice for tasks whose samples have ``choices``: by a written reply, likelihood, or a constraint.

    answer = await answer_choice(sample, model, method="likelihood", permute=0, circular=True)

The options are shown under the letters A, B, C …, in their own order, shuffled (``permute``), or in every
rotation (``circular``). ``answer.choice`` is always an index into ``sample.choices`` in the order of the
data.
"""

from __future__ import annotations

import asyncio
import math
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from evalkit.choice.extract import extractor, letter
from evalkit.errors import MetricError, UsageError
from evalkit.facts import Chosen, noted
from evalkit.metric import check_option
from evalkit.metrics.choice import right_options
from evalkit.model import Model
from evalkit.types import Answer, Message, Response, Sample, Status

Method = Literal["generate", "likelihood", "constrained"]
Normalization = Literal["raw", "character", "byte", "token", "unconditional"]
Constraint = Literal["regex", "json_schema"]
Prompt = Callable[[Sample], str | Sequence[Message]]

LETTERS = string.ascii_uppercase
_CONSTRAINED_TOKENS = 32  # enough for a letter inside JSON; ends the replies of servers that add blanks


@dataclass(frozen=True)
class Choosing:
    """The settings of asking for a choice and reading it.

    ``method``: ``generate`` lets the model write and reads the reply with ``extractor``; ``likelihood``
    compares the log-probabilities of the options as continuations of the prompt; ``constrained`` makes the
    server permit only an option's letter, by a regex or a JSON schema (``constraint``).
    ``permute`` is the seed that shuffles each sample's options. ``circular``: ask once for each rotation of
    the options; the answer is right only if every pick is right (Liu et al. 2024, MMBench).
    ``reasoning_tokens`` are added to ``max_tokens``, for models that think before they answer.
    ``score``, for likelihood: whether the continuation is the option's ``letter`` or its ``text``.
    ``normalization``: see ``normalized``. ``unconditional`` is the context without a question that
    ``normalization="unconditional"`` uses.
    Raises ``UsageError`` for an unknown value.
    """

    method: Method = "generate"
    permute: int | None = None
    circular: bool = False
    extractor: str = letter.id
    max_tokens: int = 512
    reasoning_tokens: int = 0
    constraint: Constraint = "regex"
    score: Literal["letter", "text"] = "letter"
    normalization: Normalization = "raw"
    unconditional: str = "Answer:"

    def __post_init__(self) -> None:
        extractor(self.extractor)
        check_option("method", self.method, get_args(Method))
        check_option("constraint", self.constraint, get_args(Constraint))
        check_option("score", self.score, ("letter", "text"))
        check_option("normalization", self.normalization, get_args(Normalization))


@dataclass(frozen=True)
class _Pick:
    """The result of one request: ``place``, the index of the picked option as shown, None where none could be
    read."""

    place: int | None
    response: Response
    text: str
    how: dict[str, Any]
    probabilities: list[float] | None = None


async def answer_choice(
    sample: Sample, model: Model, prompt: Prompt | None = None, **settings: Any
) -> Answer:
    """Ask for one of ``sample.choices``. ``settings`` are the fields of ``Choosing``.

    ``prompt`` makes the prompt from the sample *as shown*: its ``choices`` stand in the order shown (write
    them with ``lettered``). For ``likelihood``, the prompt is the context before the continuation (`` A``).

    A reply that names no option, or several, is ``unparsed``: the answer has no choice and scores 0.
    ``answer.metadata`` records how the reply was read (method, extractor with version, rule, order of the
    options), the options' ``probabilities`` where the method knows them, and the ``picks`` of every rotation.
    Raises ``UsageError`` for fewer than two or more than 26 options, ``ModelError`` where a call fails.
    """
    choosing = Choosing(**settings)
    orders = orders_of(sample, choosing.permute, choosing.circular)
    shown = [_shown(sample, order) for order in orders]
    ask = {"generate": _generate, "likelihood": _likelihood, "constrained": _constrained}[choosing.method]
    picks = await asyncio.gather(*(ask(variant, model, prompt, choosing) for variant in shown))
    return _combined(picks, orders, choosing)


def orders_of(sample: Sample, permute: int | None = None, circular: bool = False) -> list[tuple[int, ...]]:
    """Return the orders in which a sample's options are shown: indices into ``sample.choices``, per request.

    Raises ``UsageError`` for fewer than two or more than 26 options.
    """
    count = len(sample.choices)
    if not 2 <= count <= len(LETTERS):
        raise UsageError(
            f"sample {sample.id!r} has {count} choices; multiple choice needs 2 to {len(LETTERS)}"
        )
    order = list(range(count))
    if permute is not None:
        random.Random(f"{permute}\0{sample.id}").shuffle(order)
    return [(*order[start:], *order[:start]) for start in range(count if circular else 1)]


def _shown(sample: Sample, order: Sequence[int]) -> Sample:
    """Return the sample with its choices in this order, and as its answer the right ones, if known."""
    choices = tuple(sample.choices[i] for i in order)
    try:
        right = right_options(sample)
    except (
        MetricError
    ):  # a task without a target, or with one of its own: only a metric needs the right option
        return replace(sample, choices=choices, answer=UNSET)
    answer = tuple(place for place, index in enumerate(order) if index in right)
    return replace(sample, target="", choices=choices, answer=answer)


def lettered(choices: Sequence[str]) -> str:
    """Return the options as a model sees them, one per line: ``A. insulin``."""
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))


def pick(
    responses: Sequence[Response],
    continuations: Sequence[str],
    normalization: Normalization = "raw",
    unconditional: Sequence[Response] = (),
) -> int | None:
    """Return the index of the likeliest continuation; None where two different ones share the highest score.

    See ``normalized`` for the scores.
    """
    return _best(normalized(responses, continuations, normalization, unconditional), continuations)


def normalized(
    responses: Sequence[Response],
    continuations: Sequence[str],
    normalization: Normalization = "raw",
    unconditional: Sequence[Response] = (),
) -> list[float]:
    """Return the scores of continuations, from their summed log-probabilities, in natural logarithms.

    ``raw``: the sum (lm-eval's ``acc``). ``character``, ``byte``: the sum / the length of the option's text,
    without the space before the text (``acc_norm``, ``acc_bytes``). ``token``: the sum / the number of
    tokens. ``unconditional``: the sum minus the log-probability of the continuation after a context without
    the question, given in ``unconditional`` (Brown et al. 2020; lm-eval's ``acc_mutual_info`` for an empty
    context). Raises ``UsageError`` where these responses are missing.
    """
    sums = [response.logprob for response in responses]
    if normalization == "raw":
        return sums
    if normalization == "unconditional":
        if len(unconditional) != len(responses):
            raise UsageError("normalization='unconditional' needs the unconditional responses")
        return [total - base.logprob for total, base in zip(sums, unconditional, strict=True)]
    texts = [continuation.removeprefix(" ") for continuation in continuations]
    lengths = {
        "character": [len(text) for text in texts],
        "byte": [len(text.encode()) for text in texts],
        "token": [len(response.logprobs or ()) for response in responses],
    }[normalization]
    return [total / max(length, 1) for total, length in zip(sums, lengths, strict=True)]


def softmax(scores: Sequence[float]) -> list[float]:
    """Return the scores as probabilities that sum to 1."""
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def _best(scores: Sequence[float], continuations: Sequence[str]) -> int | None:
    top = max(scores)
    best = [i for i, score in enumerate(scores) if score == top]
    return best[0] if len({continuations[i] for i in best}) == 1 else None


async def _generate(shown: Sample, model: Model, prompt: Prompt | None, choosing: Choosing) -> _Pick:
    asked = prompt(shown) if prompt else ask_in_words(shown)
    response = await model.showing(shown).generate(
        asked,
        max_tokens=choosing.max_tokens + choosing.reasoning_tokens,
        images=shown.images if isinstance(asked, str) else (),
    )
    reader = extractor(choosing.extractor)
    reading = reader(response.text, shown.choices)
    return _Pick(reading.choice, response, response.text, {"extractor": reader.id, "rule": reading.rule})


async def _constrained(shown: Sample, model: Model, prompt: Prompt | None, choosing: Choosing) -> _Pick:
    letters = LETTERS[: len(shown.choices)]
    asked = prompt(shown) if prompt else ask_in_words(shown, "Answer with its letter.")
    gold = None
    if as_json := choosing.constraint == "json_schema":
        schema = {"type": "string", "enum": list(letters)}
        constraint: dict[str, Any] = {
            "json_schema": {
                "type": "object",
                "properties": {"answer": schema},
                "required": ["answer"],
                "additionalProperties": False,
            }
        }
        gold = f'{{"answer": "{LETTERS[shown.answers[0]]}"}}' if shown.answers else None
    else:
        constraint = {"regex": f"({'|'.join(letters)})"}
    response = await model.showing(shown).generate(
        asked,
        max_tokens=min(choosing.max_tokens, _CONSTRAINED_TOKENS) + choosing.reasoning_tokens,
        images=shown.images if isinstance(asked, str) else (),
        reference=gold,
        **constraint,
    )
    place = _permitted(response.text, shown.choices, as_json)
    return _Pick(place, response, response.text, {"extractor": f"{choosing.constraint}.v1"})


def _permitted(text: str, choices: Sequence[str], as_json: bool) -> int | None:
    """Return the option that a constrained reply names by its letter or its exact text."""
    if as_json:
        try:
            text = msgspec.json.decode(text, type=dict[str, str]).get("answer", "")
        except msgspec.MsgspecError:
            return None
    reply = text.strip()
    if reply in LETTERS[: len(choices)] and len(reply) == 1:
        return LETTERS.index(reply)
    same = [i for i, choice in enumerate(choices) if choice.strip() == reply]
    return same[0] if len(same) == 1 else None


async def _likelihood(shown: Sample, model: Model, prompt: Prompt | None, choosing: Choosing) -> _Pick:
    by_letter = choosing.score == "letter"
    context = prompt(shown) if prompt else (ask_for_letter if by_letter else ask_for_text)(shown)
    if not isinstance(context, str) or shown.images:
        raise UsageError("method='likelihood' needs a plain text as the prompt, without messages or images")
    options = list(LETTERS[: len(shown.choices)]) if by_letter else list(shown.choices)
    continuations = [f" {option}" for option in options]
    gold = options[shown.answers[0]] if shown.answers else None
    responses = await model.loglikelihood(context, continuations, reference=gold)
    base: list[Response] = []
    if choosing.normalization == "unconditional":
        # No reference: without the question, the gold baseline must not know the answer either.
        base = await model.loglikelihood(choosing.unconditional, continuations, reference="")
    scores = normalized(responses, continuations, choosing.normalization, base)
    place = _best(scores, continuations)
    named = "" if place is None else f"{LETTERS[place]}. {shown.choices[place]}"
    how = {
        "score": choosing.score,
        "normalization": choosing.normalization,
        "logprobs": [response.logprob for response in responses],
    }
    return _Pick(place, responses[place or 0], named, how, softmax(scores))


def _combined(picks: Sequence[_Pick], orders: Sequence[tuple[int, ...]], choosing: Choosing) -> Answer:
    """Combine the picks into one answer: the choice of all; unparsed where a reply could not be read."""
    chosen = [None if p.place is None else order[p.place] for p, order in zip(picks, orders, strict=True)]
    unread = next((p for p in picks if p.place is None), None)
    first = unread or picks[0]
    how = {"method": choosing.method, **first.how, "order": list(orders[0])}
    probabilities = _averaged(picks, orders) if all(p.probabilities for p in picks) else None
    facts = Chosen(chosen if choosing.circular else [], probabilities)
    agreed = chosen[0] if len(set(chosen)) == 1 else None
    # A constrained reply is complete, even where the server added blanks up to the limit. The status is set
    # here because an option may read like a refusal ("I cannot discuss this with you").
    whole = choosing.method == "constrained" or all(p.response.finish_reason == "stop" for p in picks)
    status = Status.UNPARSED if unread else Status.OK if whole else None
    return noted(Answer(first.response, first.text, choice=agreed, status=status, metadata=how), facts)


def _averaged(picks: Sequence[_Pick], orders: Sequence[tuple[int, ...]]) -> list[float]:
    """Return the mean probabilities over all picks, in the order of the data."""
    total = [0.0] * len(orders[0])
    for result, order in zip(picks, orders, strict=True):
        for probability, index in zip(result.probabilities or (), order, strict=True):
            total[index] += probability / len(picks)
    return total


def ask_in_words(
    shown: Sample, how: str = "Think first if you need to, then end with a line: Answer: X"
) -> str:
    """Return the default prompt for a written answer."""
    return f"{shown.input}\n\n{lettered(shown.choices)}\n\nWhich option is right? {how}"


def ask_for_letter(shown: Sample) -> str:
    """Return the default context for the likelihood of the letters."""
    return f"Question: {shown.input}\n{lettered(shown.choices)}\nAnswer:"


def ask_for_text(shown: Sample) -> str:
    """Return the default context for the likelihood of the options' texts: the context does not list them."""
    return f"Question: {shown.input}\nAnswer:"
