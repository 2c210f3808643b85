"""Interleaves pictures with a text at its markers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.errors import UsageError
from evalkit.types import Image, Message, Part, Text

_MARKER = re.compile(r"<image[ _]?(\d*)>")


def interleaved(text: str, images: Sequence[Image], role: str = "user") -> Message:
    """Return a message in which pictures replace ``<image1>``, ``<image2>`` (or ``<image>``, in order).

    A text with ``<image 0>`` counts from 0. A picture without a marker comes first. A picture with several
    markers is shown at the first one. Markers without a picture are dropped: some data sets put all that they
    name into one picture. Raises ``UsageError`` if a text with ``<image 0>`` also names one more picture than
    there are, so that its counting is unclear.
    """
    first = _first_number(text, len(images))
    shown: list[int] = []
    parts: list[Part] = []
    end = 0
    for match in _MARKER.finditer(text):
        number = int(match[1]) - first if match[1] else len(shown)
        parts.append(Text(text[end : match.start()]))
        end = match.end()
        if 0 <= number < len(images) and number not in shown:
            parts.append(images[number])
            shown.append(number)
    parts.append(Text(text[end:]))
    unmarked = [image for i, image in enumerate(images) if i not in shown]
    return Message(role, tuple(_joined([*unmarked, *parts])))


def _first_number(text: str, pictures: int) -> int:
    """Return the number of the first picture in the markers of a text, 0 or 1. Raises ``UsageError``."""
    numbers = {int(number) for number in _MARKER.findall(text) if number}
    if 0 not in numbers:
        return 1
    if pictures in numbers and pictures:
        raise UsageError(
            f"the text names <image 0> and <image {pictures}>, and there are {pictures} pictures: "
            "count its markers from 0 or from 1"
        )
    return 0


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Join neighbouring texts, strip the white space around pictures, and drop empty texts."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, Text) and joined and isinstance(joined[-1], Text):
            joined[-1] = Text(joined[-1].text + part.text)
        else:
            joined.append(part)
    stripped = [Text(p.text.strip()) if isinstance(p, Text) else p for p in joined]
    return [p for p in stripped if not isinstance(p, Text) or p.text]
