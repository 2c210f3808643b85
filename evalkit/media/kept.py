"""A disk cache of converted pictures, keyed by their source and the conversion (the recipe).

The files are in ``media`` of the cache folder (``EVALKIT_CACHE``), named by their hash. They can be deleted:
evalkit converts the pictures again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from evalkit.types import Image
from evalkit.util.paths import cache_dir, write_whole

_VERSION = "2"  # of the conversions: raise it when one changes

_decode = msgspec.json.Decoder(tuple[Image, ...]).decode
Made = tuple[bytes, str, tuple[int, int]]  # a PNG file, how it was made, width and height


def kept(recipe: str, make: Callable[[], Sequence[Made]]) -> tuple[Image, ...]:
    """Return the pictures of a recipe (source hash and settings): from disk, or from ``make`` now."""
    folder = _folder()
    index = folder / f"{hashlib.sha256(f'{_VERSION} {recipe}'.encode()).hexdigest()}.json"
    if index.is_file():
        images = _decode(index.read_bytes())
        if all(Path(image.path or "").is_file() for image in images):
            return images
    images = tuple(_write(folder, *made) for made in make())
    write_whole(index, msgspec.json.encode(images))
    return images


def keep_image(data: bytes, media_type: str = "application/octet-stream") -> Image:
    """Write a picture without a file (from a row of a data set) to disk, to save memory, and return it."""
    digest = hashlib.sha256(data).hexdigest()
    path = _folder() / digest
    if not path.is_file():
        write_whole(path, data)
    return Image(digest, media_type, path=str(path))


def _write(folder: Path, png: bytes, made: str, size: tuple[int, int]) -> Image:
    digest = hashlib.sha256(png).hexdigest()
    path = folder / f"{digest}.png"
    if not path.is_file():
        write_whole(path, png)
    return Image(digest, "image/png", path=str(path), made=made, size=size)


def _folder() -> Path:
    folder = cache_dir() / "media"
    folder.mkdir(exist_ok=True)
    return folder.resolve()
