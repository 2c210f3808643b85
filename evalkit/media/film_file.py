"""Notices a film file that is cut off, from the sizes in its own headers."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

from evalkit.types import Video

_BOXES = frozenset(
    b"ftyp styp moov moof mdat mfra sidx ssix prft free skip wide udta uuid meta pnot emsg".split()
)
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def missing_bytes(video: Video) -> int:
    """Return how many bytes a film lacks at its end, as MP4, Matroska, WebM and AVI files tell; else 0.

    A live recording (WebM from a browser) does not say how long it is: 0.
    """
    if video.data is not None:
        return _missing(io.BytesIO(video.data), len(video.data))
    with Path(video.path or "").open("rb") as file:
        return _missing(file, os.fstat(file.fileno()).st_size)


def _missing(file: BinaryIO, size: int) -> int:
    start = file.read(12)
    if start[4:8] in _BOXES:
        end = _end_of_boxes(file, size)
    elif start[:4] == _EBML.to_bytes(4):
        end = _end_of_segment(file)
    elif start[:4] == b"RIFF" and start[8:] == b"AVI ":
        end = _end_of_riff(file, size)
    else:
        end = 0
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Return where the last box of an MP4 file ends; unknown bytes behind the boxes are left alone."""
    offset = 0
    while offset < size:
        file.seek(offset)
        header = file.read(16).ljust(16, b"\0")
        length, kind, long = struct.unpack(">I4sQ", header)
        length = long if length == 1 else length
        if kind not in _BOXES or length < 8:  # 0: up to the end of the file
            break
        offset += length
    return offset


def _end_of_segment(file: BinaryIO) -> int:
    """Return where the Segment of a Matroska file ends; 0 if its length is unknown (live)."""
    offset = 0
    for expected in (_EBML, _SEGMENT):
        file.seek(offset)
        head = file.read(12)
        length = _vint(head[4:])
        if head[:4] != expected.to_bytes(4) or length is None:
            return 0
        offset += 4 + 9 - head[4].bit_length() + length
    return offset


def _vint(data: bytes) -> int | None:
    """Return an EBML number; None for the one that means unknown."""
    width = 9 - data[0].bit_length() if data else 9
    if width > len(data):
        return None
    value = int.from_bytes(data[:width]) - (1 << 7 * width)
    return None if value == (1 << 7 * width) - 1 else value


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """Return where the last RIFF chunk of an AVI file ends; a long film has several."""
    offset = 0
    while offset < size:
        file.seek(offset)
        kind, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if kind != b"RIFF" or not length:
            break
        offset += 8 + length + length % 2
    return offset
