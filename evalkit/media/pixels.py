"""Converts pictures to what every server reads alike: PNG, 8 bits, grey or RGB, upright, opaque."""

from __future__ import annotations

import io
import math
import struct
import zlib
from functools import lru_cache
from typing import Any

from evalkit.errors import RequestRejected
from evalkit.extras import load
from evalkit.media.kept import Made
from evalkit.types import MediaSupport


def pillow() -> Any:
    """Return ``PIL.Image``. Raises ``NotInstalled`` where Pillow is not installed."""
    return load("PIL.Image", "a picture that has to be converted")


def to_png(data: bytes, media_type: str, takes: MediaSupport, name: str) -> Made | None:
    """Return a picture converted to PNG; None if the original needs no conversion.

    Raises ``RequestRejected`` with the reason if the file cannot be read or holds several pictures.
    """
    pil = pillow()
    try:
        with pil.open(io.BytesIO(data)) as opened:
            if (pages := getattr(opened, "n_frames", 1)) > 1:
                raise RequestRejected(
                    f"{name} holds {pages} pictures: choose with evalkit.media.open_images(path, pages=[…])"
                )
            opened.load()
            return plain(opened, media_type, takes)
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as problem:
        raise RequestRejected(f"{name} ({media_type}) cannot be read as a picture: {problem}") from None


def plain(picture: Any, origin: str, takes: MediaSupport) -> Made | None:
    """Return a Pillow image as PNG; None if nothing has to change and the server takes type ``origin``."""
    from PIL import ImageOps

    steps: list[str] = []
    upright = ImageOps.exif_transpose(picture)
    if picture.getexif().get(0x0112, 1) > 1:
        steps.append("turned upright as its EXIF says")
    opaque = _opaque(_eight_bits(upright, steps), steps)
    small = _smaller(opaque, takes, steps)
    if not steps and origin in takes.images:
        return None
    return png(small), f"{origin} to image/png" + "".join(f"; {step}" for step in steps), small.size


def png(picture: Any) -> bytes:
    """Return a Pillow image as a PNG file without metadata."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _eight_bits(picture: Any, steps: list[str]) -> Any:
    if picture.mode in ("1", "L", "LA", "RGB", "RGBA", "P", "PA"):
        return picture
    if picture.mode[0] in "IF":
        floats = picture.convert("F")
        low, high = floats.getextrema()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("it has values that are not finite")
        scale = 255 / (high - low) if high > low else 0.0
        steps.append(f"grey values {low:g} to {high:g} spread over 8 bits")
        return floats.point(lambda v: v * scale + (0.5 - low * scale)).convert("L")
    steps.append(f"{picture.mode} to RGB")
    return picture.convert("RGB")


def _opaque(picture: Any, steps: list[str]) -> Any:
    """Put a transparent picture on white: without the alpha channel, hidden pixels would be visible."""
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        if rgba.getchannel("A").getextrema()[0] < 255:
            steps.append("transparency on white")
            white = pillow().new("RGBA", rgba.size, "white")
            return pillow().alpha_composite(white, rgba).convert("RGB")
    if picture.mode in ("L", "RGB"):
        return picture
    return picture.convert("L" if picture.mode in ("1", "LA") else "RGB")


def _smaller(picture: Any, takes: MediaSupport, steps: list[str]) -> Any:
    size = fitting(picture.size, takes)
    if size == picture.size:
        return picture
    steps.append("resized from {}x{} to {}x{}".format(*picture.size, *size))
    return picture.resize(size, pillow().Resampling.LANCZOS)


def fitting(size: tuple[int, int], takes: MediaSupport) -> tuple[int, int]:
    """Return the largest size of the same shape within ``max_side`` and ``max_pixels``, up to ``size``."""
    width, height = size
    scale = min(
        1.0,
        takes.max_side / max(size) if takes.max_side else 1.0,
        math.sqrt(takes.max_pixels / (width * height)) if takes.max_pixels else 1.0,
    )
    return size if scale == 1.0 else (max(1, int(width * scale)), max(1, int(height * scale)))


@lru_cache(maxsize=1024)
def plain_png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Return a PNG of one colour, made without Pillow."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(colour) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
