"""Pieces of prompts that several tasks and the baselines share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import count

from evalkit.data.sentences import split_sentences
from evalkit.reading.patterns import regex
from evalkit.types import Message, Passage, Text

_CITE = regex(r"\bcit(?:e|es|ed|ing|ations?)\b|\[\d\]|\breferences?\b", re.IGNORECASE)
_NUMBERED = regex(r"^\[(\d{1,9})\] (.+)$", re.MULTILINE)


def numbered(passages: Iterable[Passage], numbers: Iterable[int] | None = None) -> str:
    """Return passages as a prompt shows them: one per line, ``[1] Title. Text``, white space collapsed.

    ``numbers`` (such as PMIDs) replace 1, 2, 3 in the brackets.
    """
    lines = []
    for n, passage in zip(count(1) if numbers is None else numbers, passages, strict=False):
        title = passage.title.strip()
        if title and title[-1] not in ".?!":
            title += "."
        lines.append(f"[{n}] " + " ".join(f"{title} {passage.text}".split()))
    return "\n".join(lines)


def read_numbered(text: str) -> dict[int, str]:
    """Return the passages of a prompt by number: the inverse of ``numbered``."""
    return {int(n): body for n, body in _NUMBERED.findall(text)}


def asks_for_citations(prompt: str) -> bool:
    """Return whether a prompt asks for citations, outside its numbered passages."""
    return _CITE.search(_NUMBERED.sub("", prompt)) is not None


def cited(text: str, numbers: Iterable[int]) -> str:
    """Return ``text`` with a citation of all ``numbers`` behind each sentence, as in a perfect reply."""
    marks = "".join(f"[{n}]" for n in numbers)
    return " ".join(f"{s} {marks}" for s in split_sentences(text)) if marks else text


def text_of(messages: Sequence[Message]) -> str:
    """Return all the text of a conversation, without its images."""
    pieces: list[str] = []
    for message in messages:
        if isinstance(message.content, str):
            pieces.append(message.content)
        else:
            pieces.extend(part.text for part in message.content if isinstance(part, Text))
    return "\n".join(pieces)
