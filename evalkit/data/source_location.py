"""Rows of files that know where they stand, so that what goes wrong with one names its file and line."""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import Any


class Row(dict[str, Any]):
    """An object of a file of JSON Lines that knows its ``place``, ``FILE:LINE``."""

    place = ""


def row_place(frames: Iterable[FrameType]) -> str:
    """``FILE:LINE`` of the row that the innermost of some frames works on; empty where none is at hand."""
    place = ""
    for frame in frames:
        for value in frame.f_locals.values():
            place = value.place if isinstance(value, Row) else place
    return place
