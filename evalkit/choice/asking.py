"""Multiple choice for any task whose samples have ``choices``: asked in words, by likelihood, or constrained.

    answer = await answer_choice(sample, model, method="likelihood", permute=0, circular=True)

The options are shown under the letters A, B, C …, in their own order, shuffled (``permute``), or under every
rotation (``circular``). ``answer.choice`` is always an index into ``sample.choices`` as the data has them.
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
from msgspec.structs import replace

from evalkit.choice.extract import extractor
from evalkit.errors import UsageError
from evalkit.facts import Chosen, noted
from evalkit.metrics.choice import right_options
from evalkit.model import Model
from evalkit.types import Answer, Message, Response, Sample, Status

Method = Literal["generate", "likelihood", "constrained"]
Normalization = Literal["raw", "character", "byte", "token", "unconditional"]
Constraint = Literal["regex", "json_schema"]
Prompt = Callable[[Sample], str | Sequence[Message]]

LETTERS = string.ascii_uppercase
_CONSTRAINED_TOKENS = 32  # more than a letter takes, also inside JSON: a server that pads is cut short


@dataclass(frozen=True)
class Choosing:
    """How a choice is asked for and read.

    ``method``: ``generate`` lets the model write and reads the reply with ``extractor``; ``likelihood``
    compares the log-probabilities of the options behind the prompt; ``constrained`` lets the server permit
    nothing but an option's letter, by a regex or a JSON schema (``constraint``).
    ``permute``: a seed; each sample's options are shuffled by it. ``circular``: ask once for each rotation of
    the options; right only if right under every one (Liu et al. 2024, MMBench).
    ``reasoning_tokens`` come on top of ``max_tokens``, for models that think before they answer.
    ``score``, for likelihood: the option's ``letter``, or its ``text``, as the continuation; see ``pick`` for
    ``normalization``. ``unconditional`` is the context without a question that it subtracts.
    Raises ``UsageError`` for an unknown word.
    """

    method: Method = "generate"
    permute: int | None = None
    circular: bool = False
    extractor: str = "letter.v1"
    max_tokens: int = 512
    reasoning_tokens: int = 0
    constraint: Constraint = "regex"
    score: Literal["letter", "text"] = "letter"
    normalization: Normalization = "raw"
    unconditional: str = "Answer:"

    def __post_init__(self) -> None:
        extractor(self.extractor)
        for name, known in (
            ("method", get_args(Method)),
            ("constraint", get_args(Constraint)),
            ("score", ("letter", "text")),
            ("normalization", get_args(Normalization)),
        ):
            if getattr(self, name) not in known:
                raise UsageError(f"{name}={getattr(self, name)!r}: one of {', '.join(known)} is wanted")


@dataclass(frozen=True)
class _Pick:
    """What one asking gave: ``place`` among the options as shown, None where none could be read."""

    place: int | None
    response: Response
    text: str
    how: dict[str, Any]
    probabilities: list[float] | None = None


async def answer_choice(
    sample: Sample, model: Model, prompt: Prompt | None = None, **settings: Any
) -> Answer:
    """Ask for one of ``sample.choices``. ``settings`` are the fields of ``Choosing``.

    ``prompt`` makes the prompt of the sample *as it is shown*: its ``choices`` in the order shown (write them
    with ``lettered``). For ``likelihood`` it is the context that the continuation, such as `` A``, follows.

    A reply that names no option, or several, is ``unparsed``: it has no choice and scores 0. How it was read
    (method, extractor with version, rule, order of the options) is in ``answer.metadata``, and there are the
    options' ``probabilities`` where the method knows them, and the ``picks`` of every rotation.
    Raises ``UsageError`` for fewer than two or more than 26 options, ``ModelError`` where a call fails.
    """
    choosing = Choosing(**settings)
    orders = orders_of(sample, choosing.permute, choosing.circular)
    shown = [replace(sample, choices=tuple(sample.choices[i] for i in order)) for order in orders]
    ask = {"generate": _generate, "likelihood": _likelihood, "constrained": _constrained}[choosing.method]
    picks = await asyncio.gather(*(ask(one, model, prompt, choosing) for one in shown))
    return _combined(picks, orders, choosing)


def orders_of(sample: Sample, permute: int | None = None, circular: bool = False) -> list[tuple[int, ...]]:
    """The orders in which a sample's options are shown: indices into ``sample.choices``, one order an asking.

    Raises ``UsageError`` for fewer than two or more than 26 options.
    """
    count = len(sample.choices)
    if not 2 <= count <= len(LETTERS):
        raise UsageError(f"sample {sample.id!r} has {count} choices: 2 to {len(LETTERS)} can be asked for")
    order = list(range(count))
    if permute is not None:
        random.Random(f"{permute}\0{sample.id}").shuffle(order)
    return [(*order[start:], *order[:start]) for start in range(count if circular else 1)]


def lettered(choices: Sequence[str]) -> str:
    """Options as a model sees them, ``A. insulin``, one a line."""
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))


def pick(
    responses: Sequence[Response],
    continuations: Sequence[str],
    normalization: Normalization = "raw",
    unconditional: Sequence[Response] = (),
) -> int | None:
    """The continuation that the model finds likeliest; None where two different ones are level at the top.

    See ``normalized`` for the scores that are compared.
    """
    return _best(normalized(responses, continuations, normalization, unconditional), continuations)


def normalized(
    responses: Sequence[Response],
    continuations: Sequence[str],
    normalization: Normalization = "raw",
    unconditional: Sequence[Response] = (),
) -> list[float]:
    """Scores of continuations, from their summed log-probabilities, in natural logarithms.

    ``raw``: the sum (lm-eval's ``acc``). ``character``, ``byte``: divided by the length of the option's text,
    without the space in front (``acc_norm``, ``acc_bytes``). ``token``: divided by the number of its tokens.
    ``unconditional``: minus the continuation's log-probability after a context without the question, given in
    ``unconditional`` (Brown et al. 2020; with an empty context lm-eval's ``acc_mutual_info``).
    Raises ``UsageError`` where those are not given.
    """
    sums = [response.logprob for response in responses]
    if normalization == "raw":
        return sums
    if normalization == "unconditional":
        if len(unconditional) != len(responses):
            raise UsageError("normalization='unconditional' needs the unconditional responses")
        return [own - base.logprob for own, base in zip(sums, unconditional, strict=True)]
    texts = [continuation.removeprefix(" ") for continuation in continuations]
    lengths = {
        "character": [len(text) for text in texts],
        "byte": [len(text.encode()) for text in texts],
        "token": [len(response.logprobs or ()) for response in responses],
    }[normalization]
    return [own / max(length, 1) for own, length in zip(sums, lengths, strict=True)]


def softmax(scores: Sequence[float]) -> list[float]:
    """Scores as probabilities that sum to 1."""
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def _best(scores: Sequence[float], continuations: Sequence[str]) -> int | None:
    top = max(scores)
    level = [i for i, score in enumerate(scores) if score == top]
    return level[0] if len({continuations[i] for i in level}) == 1 else None


async def _generate(shown: Sample, model: Model, prompt: Prompt | None, choosing: Choosing) -> _Pick:
    asked = prompt(shown) if prompt else ask_in_words(shown)
    response = await model.generate(
        asked,
        max_tokens=choosing.max_tokens + choosing.reasoning_tokens,
        images=shown.images if isinstance(asked, str) else (),
        reference=_gold_letter(shown),
    )
    reader = extractor(choosing.extractor)
    reading = reader(response.text, shown.choices)
    return _Pick(reading.choice, response, response.text, {"extractor": reader.id, "rule": reading.rule})


async def _constrained(shown: Sample, model: Model, prompt: Prompt | None, choosing: Choosing) -> _Pick:
    letters = LETTERS[: len(shown.choices)]
    asked = prompt(shown) if prompt else ask_in_words(shown, "Answer with its letter.")
    gold = _gold_letter(shown)
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
        gold = gold and msgspec.json.encode({"answer": gold}).decode()
    else:
        constraint = {"regex": f"({'|'.join(letters)})"}
    response = await model.generate(
        asked,
        max_tokens=min(choosing.max_tokens, _CONSTRAINED_TOKENS) + choosing.reasoning_tokens,
        images=shown.images if isinstance(asked, str) else (),
        reference=gold,
        **constraint,
    )
    place = _permitted(response.text, shown.choices, as_json)
    return _Pick(place, response, response.text, {"extractor": f"{choosing.constraint}.v1"})


def _permitted(text: str, choices: Sequence[str], as_json: bool) -> int | None:
    """The option of a reply that could hold nothing else: its letter, or its very text."""
    if as_json:
        try:
            text = msgspec.json.decode(text, type=dict[str, str]).get("answer", "")
        except msgspec.MsgspecError:
            return None
    said = text.strip()
    if said in LETTERS[: len(choices)] and len(said) == 1:
        return LETTERS.index(said)
    same = [i for i, choice in enumerate(choices) if choice.strip() == said]
    return same[0] if len(same) == 1 else None


async def _likelihood(shown: Sample, model: Model, prompt: Prompt | None, choosing: Choosing) -> _Pick:
    by_letter = choosing.score == "letter"
    context = prompt(shown) if prompt else (ask_for_letter if by_letter else ask_for_text)(shown)
    if not isinstance(context, str) or shown.images:
        raise UsageError("method='likelihood' takes a plain text as its context, without messages or images")
    options = list(LETTERS[: len(shown.choices)]) if by_letter else list(shown.choices)
    continuations = [f" {option}" for option in options]
    places = _right_places(shown)
    gold = options[places[0]] if places else None
    responses = await model.loglikelihood(context, continuations, reference=gold)
    base: list[Response] = []
    if choosing.normalization == "unconditional":
        # Nobody can know the answer to no question: not the gold baseline either.
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
    """One answer out of all askings: what they agree on; unparsed where any could not be read."""
    chosen = [None if p.place is None else order[p.place] for p, order in zip(picks, orders, strict=True)]
    unread = next((p for p in picks if p.place is None), None)
    first = unread or picks[0]
    how = {"method": choosing.method, **first.how, "order": list(orders[0])}
    probabilities = _averaged(picks, orders) if all(p.probabilities for p in picks) else None
    facts = Chosen(chosen if choosing.circular else [], probabilities)
    agreed = chosen[0] if len(set(chosen)) == 1 else None
    # What a constraint permitted is whole, even where the server padded it with blanks up to the limit. And
    # an option may read like a refusal ("I cannot discuss this with you"): what named one is none.
    whole = choosing.method == "constrained" or all(p.response.finish_reason == "stop" for p in picks)
    status = Status.UNPARSED if unread else Status.OK if whole else None
    return noted(Answer(first.response, first.text, choice=agreed, status=status, metadata=how), facts)


def _averaged(picks: Sequence[_Pick], orders: Sequence[tuple[int, ...]]) -> list[float]:
    """Probabilities in the order of the data, their mean over all askings."""
    total = [0.0] * len(orders[0])
    for one, order in zip(picks, orders, strict=True):
        for probability, index in zip(one.probabilities or (), order, strict=True):
            total[index] += probability / len(picks)
    return total


def _right_places(shown: Sample) -> list[int]:
    return sorted(right_options(shown)) if shown.targets and shown.targets != ("",) else []


def _gold_letter(shown: Sample) -> str | None:
    places = _right_places(shown)
    return LETTERS[places[0]] if places else None


def ask_in_words(
    shown: Sample, how: str = "Think first if you need to, then end with a line: Answer: X"
) -> str:
    """The prompt for a written answer where a task gives none."""
    return f"{shown.input}\n\n{lettered(shown.choices)}\n\nWhich option is right? {how}"


def ask_for_letter(shown: Sample) -> str:
    """The context for the likelihood of letters where a task gives none."""
    return f"Question: {shown.input}\n{lettered(shown.choices)}\nAnswer:"


def ask_for_text(shown: Sample) -> str:
    """The context for the likelihood of the options' texts, which are not shown, where a task gives none."""
    return f"Question: {shown.input}\nAnswer:"
