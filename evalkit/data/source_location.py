"""Rows that know their file and line, so that an error message can name the location."""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import Any


class Row(dict[str, Any]):
    """An object of a JSON Lines file with its location, ``place``: ``FILE:LINE``."""

    place = ""


def row_place(frames: Iterable[FrameType]) -> str:
    """Return ``FILE:LINE`` of the row in the innermost frame that holds one; empty where none does."""
    place = ""
    for frame in frames:
        for value in frame.f_locals.values():
            place = value.place if isinstance(value, Row) else place
    return place
