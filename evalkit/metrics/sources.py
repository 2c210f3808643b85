"""What a reply was written from, and how much of the reply is copied out of it."""

from __future__ import annotations

import re
from functools import partial
from typing import Literal, get_args

from evalkit.errors import UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.metrics.citation import without_marks
from evalkit.types import Answer, Sample

Source = Literal["passages", "input"]

_WORD = re.compile(r"\w+")


def checked(metric: str, source: str) -> str:
    """``[source=input]`` for the end of a metric's name. Raises ``UsageError`` for an unknown source."""
    if source not in get_args(Source):
        known = get_args(Source)
        raise UsageError(
            f"{metric}: source={source!r} is none of {', '.join(known)}.{did_you_mean(source, known)}"
        )
    return "" if source == "passages" else f"[source={source}]"


def source_texts(source: Source, sample: Sample, answer: Answer) -> list[str] | None:
    """The texts that the reply can stand on: the passages shown (with their titles), or the sample's input.

    None where the prompt held no passages by design.
    """
    if source == "input":
        return [sample.input]
    if answer.passages is None:
        return None
    return [
        f"{passage.title}. {passage.text}" if passage.title else passage.text for passage in answer.passages
    ]


def plain_reply(answer: Answer) -> str:
    """The reply; without citation marks where the prompt held passages."""
    return answer.reply if answer.passages is None else without_marks(answer.reply)


def copy_rate(source: Source = "passages") -> Metric:
    """Words of the longest span that stands in one source word for word / words of the reply.

    Case and punctuation do not count. 1 is a reply that is copied whole, one word in a hundred is no copy at
    all. A fact: copying may be what was asked for. A reply without words copies nothing. Does not apply where
    the prompt held no passages by design. Raises ``UsageError`` for an unknown source.
    """
    return Metric(
        "copy_rate" + checked("copy_rate", source),
        partial(_copied, source),
        higher_is_better=None,
        kind="fact",
        help="longest span copied from a source / length of the reply",
    )


def _copied(source: Source, sample: Sample, answer: Answer) -> float | None:
    texts = source_texts(source, sample, answer)
    if texts is None:
        return None
    words = _WORD.findall(plain_reply(answer).lower())
    sources = [f" {' '.join(_WORD.findall(text.lower()))} " for text in texts]
    longest = 0
    for start in range(len(words)):
        while longest < len(words) - start and _stands(words[start : start + longest + 1], sources):
            longest += 1
    return longest / len(words) if words else 0.0


def _stands(span: list[str], sources: list[str]) -> bool:
    return any(f" {' '.join(span)} " in text for text in sources)
