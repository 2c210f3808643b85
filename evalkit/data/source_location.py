"""Rows that know their file and line, so that an error message can name the location."""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import Any


class Row(dict[str, Any]):
    """A row of a data set with its location, ``place``: ``FILE:LINE``, or ``FILE, row N``."""

    place = ""


def row_place(frames: Iterable[FrameType]) -> str:
    """Return the place of the row in the innermost frame that holds one; empty where none does."""
    place = ""
    for frame in frames:
        for value in frame.f_locals.values():
            place = value.place if isinstance(value, Row) else place
    return place
