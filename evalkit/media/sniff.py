"""Recognizes a file by its first bytes, not its name: media type, size, traits that servers misread."""

from __future__ import annotations

import importlib
import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from evalkit.types import Image

_SIGNATURES = (
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"BM", "image/bmp"),
    (b"\0\0\0\x0cjP  ", "image/jp2"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "image/heic"),
}
# The first element of a DICOM file without preamble: group 2 or 8, with a value representation that begins a
# file, or with the length of a short value (implicit).
_DICOM_ELEMENT = re.compile(
    rb"[\x02\x08]\0.\0(?:UL|OB|CS|UI|SH|DA|[\x02-\x40]\0\0\0)|\0[\x02\x08]\0.(?:UL|OB|CS|UI|SH|DA)", re.DOTALL
)
# Markers of JPEG that begin a frame: all of C0 to CF but the tables DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TAIL = 4096  # last bytes, which contain the end marker; some programs append bytes after the marker
_HEAD = 4096
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length


@dataclass(frozen=True)
class FileInfo:
    """The media type of a file, a picture's size as viewers show it, and its ``odd`` traits, if any.

    Odd is what some servers misread: 16 bits, CMYK, transparency, EXIF rotation, animation, a cut-off file.
    ``size`` is width and height in pixels, after the EXIF rotation.
    """

    media_type: str
    size: tuple[int, int] | None = None
    odd: str = ""


def look(data: bytes) -> FileInfo:
    """Recognize bytes; unknown ones are ``application/octet-stream``."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data[:4] == b"RIFF":
        return _riff(data)
    if data[128:132] == b"DICM":
        return FileInfo("application/dicom")
    if data[4:8] == b"ftyp":
        return FileInfo(_BRANDS.get(data[8:12], "video/mp4"))
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return FileInfo(media_type)
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2:  # a frame of MPEG audio, layer III
        return FileInfo("audio/mpeg")
    return FileInfo(_without_signature(data))


def _without_signature(data: bytes) -> str:
    """Return the media type of a file that does not begin with its signature."""
    start = data[:1024]
    if b"%PDF-" in start:  # viewers take a few bytes in front of it
        return "application/pdf"
    if _DICOM_ELEMENT.match(start):
        return "application/dicom"
    if b"<svg" in start and start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "image/svg+xml"
    return "application/octet-stream"


def is_picture(image: Image) -> bool:
    """Return whether a file may be a picture, by its first bytes, or by Pillow where they say nothing.

    Raises ``OSError`` where the file cannot be read.
    """
    if image.data is not None:
        head = image.data[:_HEAD]
    else:
        with Path(image.path or "").open("rb") as file:
            head = file.read(_HEAD)
    media_type = look(head).media_type
    if media_type != "application/octet-stream":
        return not media_type.startswith(("audio/", "video/"))
    try:
        pil = importlib.import_module("PIL.Image")
    except ModuleNotFoundError:  # the file's own error then comes when it is sent
        return True
    try:
        with pil.open(io.BytesIO(image.read())):
            return True
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError):
        return False


def _png(data: bytes) -> FileInfo:
    odd: list[str] = []
    size, turned = None, 1
    offset = 8
    while offset + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"IHDR" and offset + 18 <= len(data):
            width, height, depth, colour = struct.unpack_from(">IIBB", data, offset + 8)
            size = (width, height)
            odd += ["16 bits"] if depth == 16 else []
            odd += ["transparency"] if colour in (4, 6) else []
        elif kind == b"tRNS":
            odd.append("transparency")
        elif kind == b"acTL":
            odd.append("animation")
        elif kind == b"eXIf":  # before the pixels or after them
            turned = _orientation(data[offset + 8 : offset + 8 + length])
        elif kind == b"IEND" or not kind.isalpha():
            break
        offset += length + 12
    odd += ["no end"] if b"IEND" not in data[-_TAIL:] else []
    return _turned("image/png", size, odd, turned)


def _turned(media_type: str, size: tuple[int, int] | None, odd: list[str], orientation: int) -> FileInfo:
    """Return a picture's information, where ``size`` is that before the EXIF ``orientation``."""
    odd = [*odd, "EXIF rotation"] if orientation > 1 else odd
    upright = (size[1], size[0]) if size and orientation > 4 else size
    return FileInfo(media_type, upright, ", ".join(odd))


def _jpeg(data: bytes) -> FileInfo:
    odd: list[str] = []
    offset, turned = 2, 1
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF or marker in _BARE:
            offset += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, offset + 2)
        body = data[offset + 4 : offset + 2 + length]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            turned = _orientation(body[6:])
        if marker in _FRAMES and len(body) >= 6:
            precision, height, width, components = struct.unpack_from(">BHHB", body)
            odd += [f"{precision} bits"] if precision != 8 else []
            odd += ["CMYK"] if components == 4 else []
            odd += ["no end"] if b"\xff\xd9" not in data[max(offset, len(data) - _TAIL) :] else []
            return _turned("image/jpeg", (width, height), odd, turned)
        offset += 2 + length
    return FileInfo("image/jpeg", None, "no frame in it")


def _orientation(exif: bytes) -> int:
    """Return the orientation in a block of EXIF: 1 (upright) if there is none."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return 1
    (offset,) = struct.unpack_from(order + "I", exif, 4)
    if offset + 2 > len(exif):
        return 1
    (entries,) = struct.unpack_from(order + "H", exif, offset)
    for entry in range(offset + 2, min(offset + 2 + 12 * entries, len(exif) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == 0x0112:
            return int(value) if 1 <= value <= 8 else 1
    return 1


def _riff(data: bytes) -> FileInfo:
    if data[8:12] == b"WAVE":
        return FileInfo("audio/wav")
    if data[8:12] == b"AVI ":
        return FileInfo("video/x-msvideo")
    if data[8:12] != b"WEBP":
        return FileInfo("application/octet-stream")
    odd = ["no end"] if int.from_bytes(data[4:8], "little") + 8 > len(data) else []
    if data[12:16] == b"VP8X" and len(data) >= 30:
        flags = data[20]
        odd += [name for bit, name in ((0x10, "transparency"), (0x02, "animation")) if flags & bit]
        size = (1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
        return _turned("image/webp", size, odd, _webp_orientation(data) if flags & 0x08 else 1)
    if data[12:16] == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        size = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        return FileInfo("image/webp", size, ", ".join([*odd, "transparency"] if bits >> 28 & 1 else odd))
    if data[12:16] == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return FileInfo("image/webp", (width & 0x3FFF, height & 0x3FFF), ", ".join(odd))
    return FileInfo("image/webp", None, "no frame in it")


def _webp_orientation(data: bytes) -> int:
    """Return the orientation in the EXIF chunk of a WebP file: 1 if there is none."""
    offset = 12
    while offset + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, offset)
        if kind == b"EXIF":
            return _orientation(data[offset + 8 : offset + 8 + length].removeprefix(b"Exif\0\0"))
        offset += 8 + length + length % 2
    return 1
