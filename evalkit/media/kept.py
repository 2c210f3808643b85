"""Pictures that were made from others, kept on disk by what they were made from: made once, read when sent.

They lie in ``media`` of the cache folder (``EVALKIT_CACHE``), named by their hash, and can be made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from evalkit.types import Image
from evalkit.util.paths import cache_dir, write_whole

_VERSION = "1"  # of how pictures are made: raise it when a conversion changes

_decode = msgspec.json.Decoder(tuple[Image, ...]).decode
Made = tuple[bytes, str, tuple[int, int]]  # a PNG file, how it was made, width and height


def kept(recipe: str, make: Callable[[], Sequence[Made]]) -> tuple[Image, ...]:
    """The pictures of a recipe, which names the source by its hash: from disk, or made now."""
    folder = _folder()
    index = folder / f"{hashlib.sha256(f'{_VERSION} {recipe}'.encode()).hexdigest()}.json"
    if index.is_file():
        known = _decode(index.read_bytes())
        if all(Path(image.path or "").is_file() for image in known):
            return known
    images = tuple(_written(folder, *made) for made in make())
    write_whole(index, msgspec.json.encode(images))
    return images


def keep_image(data: bytes, media_type: str = "application/octet-stream") -> Image:
    """Bytes that came without a file (a row of a data set), written to disk once: memory stays flat."""
    digest = hashlib.sha256(data).hexdigest()
    path = _folder() / digest
    if not path.is_file():
        write_whole(path, data)
    return Image(digest, media_type, path=str(path))


def _written(folder: Path, png: bytes, made: str, size: tuple[int, int]) -> Image:
    digest = hashlib.sha256(png).hexdigest()
    path = folder / f"{digest}.png"
    if not path.is_file():
        write_whole(path, png)
    return Image(digest, "image/png", path=str(path), made=made, size=size)


def _folder() -> Path:
    folder = cache_dir() / "media"
    folder.mkdir(exist_ok=True)
    return folder.resolve()
