"""Converts pictures to what every server reads alike: PNG, 8 bits, grey or RGB, upright, opaque."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from evalkit.errors import RequestRejected
from evalkit.extras import load
from evalkit.media.kept import Made
from evalkit.types import MediaSupport

_ODDEST_PIXEL = 10.0
_CONVERT = {
    "image/heic": "convert it to JPEG first, for example heif-convert PHOTO.heic PHOTO.jpg",
    "image/svg+xml": "it is a drawing, not pixels: convert it first, for example rsvg-convert -o D.png D.svg",
}


def pillow() -> Any:
    """Return ``PIL.Image``. Raises ``NotInstalled`` where Pillow is not installed."""
    return load("PIL.Image", "a picture that has to be converted")


@contextmanager
def opened(data: bytes, media_type: str, name: str) -> Iterator[Any]:
    """Open a file with Pillow. Raises ``RequestRejected`` with name and reason, also while it is read."""
    pil = pillow()
    try:
        with pil.open(io.BytesIO(data)) as picture:
            yield picture
    except (OSError, SyntaxError, ValueError, pil.DecompressionBombError) as problem:
        reason = _reason(problem, data, media_type)
        raise RequestRejected(f"{name} ({media_type}) cannot be read as a picture: {reason}") from None


def _reason(problem: Exception, data: bytes, media_type: str) -> str:
    from PIL import UnidentifiedImageError

    if not data:
        return "the file is empty (0 bytes)"
    if not isinstance(problem, UnidentifiedImageError):
        return str(problem)
    return _CONVERT.get(media_type, "it is damaged, or in no format that Pillow reads")


def to_png(data: bytes, media_type: str, takes: MediaSupport, name: str) -> Made | None:
    """Return a picture converted to PNG; None if the original needs no conversion.

    Raises ``RequestRejected`` with the reason if the file cannot be read or holds several pictures.
    """
    with opened(data, media_type, name) as picture:
        if (pages := picture_count(picture)) > 1:
            raise RequestRejected(
                f"{name} holds {pages} pictures: choose with evalkit.media.open_images(path, pages=[…])"
            )
        picture.load()
        return plain(picture, media_type, takes)


def picture_count(picture: Any) -> int:
    """Return the number of pages or frames of a file.

    A photograph (JPEG) is one picture: what phones put behind it (a preview, a gain map) no viewer shows.
    """
    return 1 if picture.format in ("JPEG", "MPO") else getattr(picture, "n_frames", 1)


def plain(picture: Any, origin: str, takes: MediaSupport) -> Made | None:
    """Return a Pillow image as PNG; None if nothing has to change and the server takes type ``origin``."""
    from PIL import ImageOps

    steps: list[str] = []
    upright = ImageOps.exif_transpose(picture)
    if picture.getexif().get(0x0112, 1) > 1:
        steps.append("turned upright as its EXIF says")
    opaque = _opaque(_eight_bits(upright, steps), steps)
    squared = square(opaque, _fax_pixel(picture, origin), steps)
    small = _smaller(squared, takes, steps)
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
        if low == high:
            low, high = 0.0, white_of(high, picture.mode)
        scale = 255 / (high - low)
        steps.append(f"grey values {low:g} to {high:g} spread over 8 bits")
        return floats.point(lambda v: v * scale + (0.5 - low * scale)).convert("L")
    return _to_rgb(picture, steps)


def _to_rgb(picture: Any, steps: list[str]) -> Any:
    """Return a picture of another colour space in RGB, by its colour profile where it has a readable one."""
    from PIL import ImageCms

    profile = picture.info.pop("icc_profile", None)  # it must not go into an RGB file
    steps.append(f"{picture.mode} to RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            steps[-1] += ", its colour profile cannot be used"
        else:
            steps[-1] += " by its colour profile"
            return converted
    return picture.convert("RGB")


def white_of(value: float, mode: str) -> float:
    """Return the value of white in a picture that has one ``value`` only, from its Pillow ``mode``."""
    whites = (65535.0,) if mode.startswith("I;16") else (1.0, 255.0, 65535.0)[mode == "I" :]
    return next((white for white in whites if value <= white), value)


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


def square(picture: Any, shape: float, steps: list[str]) -> Any:
    """Return a picture with square pixels, one side enlarged. ``shape`` is a pixel's height over its width.

    A shape that no device makes (above 1:10) is taken for a wrong entry and left alone.
    """
    width, height = picture.size
    size = (width, round(height * shape)) if shape > 1 else (round(width / max(shape, 1e-9)), height)
    if size == picture.size or not 1 / _ODDEST_PIXEL <= shape <= _ODDEST_PIXEL:
        return picture
    steps.append("pixels made square, from {}x{} to {}x{}".format(*picture.size, *size))
    return picture.resize(size, pillow().Resampling.LANCZOS)


def _fax_pixel(picture: Any, origin: str) -> float:
    """Return the height of a pixel over its width: 1 but for a fax, which has 204 x 98 pixels to the inch."""
    across, down = (float(v) for v in picture.info.get("dpi", (1, 1))[:2])
    fax = origin == "image/tiff" and picture.mode == "1" and across > 0 and down > 0
    return across / down if fax else 1.0


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


def even_picture(width: int, height: int, colour: tuple[int, int, int], media_type: str) -> bytes:
    """Return a file of one colour. Raises ``NotInstalled`` without Pillow, ``KeyError`` for other types."""
    if media_type == "image/png":
        return plain_png(width, height, colour)
    out = io.BytesIO()
    pillow().new("RGB", (width, height), colour).save(out, media_type.removeprefix("image/"))
    return out.getvalue()


@lru_cache(maxsize=1024)
def plain_png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Return a PNG of one colour, made without Pillow."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(colour) * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
