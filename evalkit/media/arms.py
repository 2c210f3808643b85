"""Image arms: does a model use the picture? A vision task runs with its real pictures and with others.

``real``: unchanged; ``blank``: grey, of the same size; ``shuffled``: another sample's; ``none``: no picture.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar, get_args

import msgspec

from evalkit.errors import SetupError
from evalkit.media.pixels import pillow, plain_png
from evalkit.media.sniff import look
from evalkit.task import parametrize
from evalkit.types import Image, Sample

ImageArm = Literal["real", "blank", "shuffled", "none"]
ARMS: tuple[ImageArm, ...] = get_args(ImageArm)
GREY = (128, 128, 128)

F = TypeVar("F", bound=Callable[..., Any])


def image_arms(fn: F) -> F:
    """Run a task in all image arms: ``@image_arms`` beside ``@task``.

    The samples function takes ``image: ImageArm = "real"`` and passes its samples through ``in_arm``.
    """
    return parametrize(image=ARMS)(fn)


def in_arm(samples: Iterable[Sample], image: ImageArm) -> Iterator[Sample]:
    """Yield the samples with their pictures replaced and nothing else changed.

    A shuffled picture is drawn from all other pictures of the data set by the sample's id, so that it is the
    same in every run, with any limit. Raises ``SetupError`` if there is no other picture.
    """
    if image == "real":
        yield from samples
    elif image == "shuffled":
        yield from _shuffled(list(samples))
    else:
        for sample in samples:
            images = tuple(map(blank, sample.images)) if image == "blank" else ()
            yield msgspec.structs.replace(sample, images=images)


def blank(image: Image) -> Image:
    """Return a mid-grey picture of the same size. Raises ``SetupError`` if the size is unknown."""
    data = image.read()
    size = image.size or look(data).size
    if size is None:
        try:
            with pillow().open(io.BytesIO(data)) as opened:
                size = opened.size
        except OSError as problem:
            raise SetupError(f"{image.path or image.sha256[:12]} is no picture: {problem}") from None
    grey = Image.of(plain_png(*size, GREY))
    return msgspec.structs.replace(grey, made="blank, in place of the real picture", size=size)


def _shuffled(samples: list[Sample]) -> Iterator[Sample]:
    pool = {image.sha256: image for sample in samples for image in sample.images}
    names = sorted(pool)
    for sample in samples:
        own = {image.sha256 for image in sample.images}
        if own and len(own) >= len(names):
            raise SetupError("image=shuffled needs pictures of other samples, and there are none")
        images = tuple(pool[_draw(names, own, f"{sample.id}\0{i}")] for i in range(len(sample.images)))
        yield msgspec.structs.replace(sample, images=images)


def _draw(names: list[str], own: set[str], key: str) -> str:
    """Return the first name outside ``own``, from the position that the hash of ``key`` gives."""
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % len(names)
    rotated = (names[(start + step) % len(names)] for step in range(len(names)))
    return next(name for name in rotated if name not in own)
