"""Pieces of prompts that several tasks and the baselines share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import count

from evalkit.data.sentences import split_sentences
from evalkit.types import Message, Passage, Text

_NUMBERED = re.compile(r"^\[(\d{1,9})\] (.+)$", re.MULTILINE)


def numbered(passages: Iterable[Passage], numbers: Iterable[int] | None = None) -> str:
    """Passages as a model sees them: one a line, ``[1] Title. Text``, white space folded.

    ``numbers`` stand in the brackets in place of 1, 2, 3 (PMIDs, say).
    """
    lines = []
    for n, passage in zip(count(1) if numbers is None else numbers, passages, strict=False):
        title = passage.title.strip()
        if title and title[-1] not in ".?!":
            title += "."
        lines.append(f"[{n}] " + " ".join(f"{title} {passage.text}".split()))
    return "\n".join(lines)


def read_numbered(text: str) -> dict[int, str]:
    """The inverse of ``numbered``: passages by number, as a reader finds them in a prompt."""
    return {int(n): body for n, body in _NUMBERED.findall(text)}


def cited(text: str, numbers: Iterable[int]) -> str:
    """``text`` with a citation of all ``numbers`` behind each sentence, as a perfect reply would have it."""
    marks = "".join(f"[{n}]" for n in numbers)
    return " ".join(f"{s} {marks}" for s in split_sentences(text)) if marks else text


def text_of(messages: Sequence[Message]) -> str:
    """All the text of a conversation, without its images."""
    pieces: list[str] = []
    for message in messages:
        if isinstance(message.content, str):
            pieces.append(message.content)
        else:
            pieces.extend(part.text for part in message.content if isinstance(part, Text))
    return "\n".join(pieces)
