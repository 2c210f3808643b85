"""A message of text and pictures, each picture where the text says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.types import Image, Message, Part, Text

_MARKER = re.compile(r"<image[ _]?(\d*)>")


def interleaved(text: str, images: Sequence[Image], role: str = "user") -> Message:
    """A message in which ``<image1>``, ``<image2>`` (or ``<image>``, in order) are the pictures themselves.

    A picture that no marker names comes first; a picture that is named again is shown once; markers without a
    picture are dropped.
    """
    shown: list[int] = []
    parts: list[Part] = []
    place = 0
    for match in _MARKER.finditer(text):
        number = int(match[1]) - 1 if match[1] else len(shown)
        parts.append(Text(text[place : match.start()]))
        place = match.end()
        if 0 <= number < len(images) and number not in shown:
            parts.append(images[number])
            shown.append(number)
    parts.append(Text(text[place:]))
    first = [image for i, image in enumerate(images) if i not in shown]
    return Message(role, tuple(_joined([*first, *parts])))


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Texts that follow each other as one, empty ones left out; white space around pictures stripped."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + part.text)
        else:
            joined.append(part)
    whole = [Text(p.text.strip()) if isinstance(p, Text) else p for p in joined]
    return [p for p in whole if not isinstance(p, Text) or p.text]
