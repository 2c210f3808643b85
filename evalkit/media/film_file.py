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
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80\x67"


def missing_bytes(video: Video) -> int:
    """Return how many bytes a film lacks at its end, as MP4, Matroska, WebM and AVI files tell; else 0."""
    if video.data is not None:
        return _missing(io.BytesIO(video.data), len(video.data))
    with Path(video.path or "").open("rb") as file:
        return _missing(file, os.fstat(file.fileno()).st_size)


def _missing(file: BinaryIO, size: int) -> int:
    start = file.read(12)
    if start[4:8] in _BOXES:
        end = _end_of_boxes(file, size)
    elif start[:4] == _EBML:
        end = _end_of_elements(file, size)
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


def _end_of_elements(file: BinaryIO, size: int) -> int:
    """Return where the last element of a Matroska or WebM file ends.

    A live recording has no lengths for its Segment and Clusters: what they contain is walked instead.
    """
    offset = 0
    while offset < size:
        file.seek(offset)
        head = file.read(12).ljust(12, b"\0")
        name_width = 9 - head[0].bit_length()
        width = 9 - head[name_width].bit_length()
        if name_width > 4 or width > 8:  # no element: zeros, as a download leaves them that broke off
            return 2 * size - offset
        value = int.from_bytes(head[name_width : name_width + width]) - (1 << 7 * width)
        unknown = value == (1 << 7 * width) - 1
        offset += name_width + width + (0 if unknown else value)
        if head[:4] == _SEGMENT and not unknown:
            return offset
    return offset


def _end_of_riff(file: BinaryIO, size: int) -> int:
    """Return where the last RIFF chunk of an AVI file must end; a long film has several.

    Some programs count the eight bytes of its header twice, or leave out the last, empty byte.
    """
    offset = 0
    while offset < size:
        file.seek(offset)
        kind, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if kind != b"RIFF" or not length:
            break
        offset += 8 + length + length % 2
    return offset - 9
