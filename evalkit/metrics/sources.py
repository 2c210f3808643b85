"""The sources of a reply, and the share of the reply that is copied from them."""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from evalkit.data.words import words
from evalkit.metric import Metric, check_option
from evalkit.reading.fold import fold
from evalkit.reading.marks import without_marks
from evalkit.types import Answer, Sample

Source = Literal["passages", "input"]


def checked(metric: str, source: str) -> str:
    """Return the end of a metric's name: ``[source=input]``. Raises ``UsageError`` for an unknown source."""
    check_option(f"{metric}, source", source, get_args(Source))
    return "" if source == "passages" else f"[source={source}]"


def source_texts(source: Source, sample: Sample, answer: Answer) -> list[str] | None:
    """Return the source texts of a reply: the passages shown (with their titles), or the sample's input.

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
    """Return the reply, without citation marks where the prompt held passages."""
    return answer.reply if answer.passages is None else without_marks(answer.reply)


def copy_rate(source: Source = "passages") -> Metric:
    """Return ``copy_rate``: words of the longest span copied from one source / words of the reply.

    Case and punctuation do not count. A value of 1 is a reply copied completely; about 0.01 is no copy. The
    metric is a fact, because a task may ask for copying. A reply without words scores 0. Does not apply where
    the prompt held no passages by design. Raises ``UsageError`` for an unknown source.
    """
    return Metric(
        "copy_rate" + checked("copy_rate", source),
        partial(_copied, source),
        higher_is_better=None,
        kind="fact",
        help="longest span copied from a source / length of the reply",
        version=2,  # 2: characters of scripts without spaces are words; text is folded
    )


def _copied(source: Source, sample: Sample, answer: Answer) -> float | None:
    texts = source_texts(source, sample, answer)
    if texts is None:
        return None
    own = words(fold(plain_reply(answer)).lower())
    sources = [f" {' '.join(words(fold(text).lower()))} " for text in texts]
    longest = 0
    for start in range(len(own)):
        while longest < len(own) - start and _is_copied(own[start : start + longest + 1], sources):
            longest += 1
    return longest / len(own) if own else 0.0


def _is_copied(span: list[str], sources: list[str]) -> bool:
    return any(f" {' '.join(span)} " in text for text in sources)
