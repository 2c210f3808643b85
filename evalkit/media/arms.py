"""Does a model look at the picture? Every vision task runs with its real pictures and with others.

``real`` as they are; ``blank`` grey of the same size; ``shuffled`` another sample's; ``none`` without.
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
    """``@image_arms`` beside ``@task``: run in all arms. The samples function takes
    ``image: ImageArm = "real"`` and passes its samples through ``in_arm``."""
    return parametrize(image=ARMS)(fn)


def in_arm(samples: Iterable[Sample], image: ImageArm) -> Iterator[Sample]:
    """Samples with their pictures replaced; everything else, the prompt too, stays.

    A shuffled picture is drawn from all other pictures of the data set by the sample's id, so it is the same
    in every run, whatever the limit. Raises ``SetupError`` where there is no other picture.
    """
    if image == "real":
        yield from samples
    elif image == "shuffled":
        yield from _shuffled(list(samples))
    else:
        for sample in samples:
            shown = tuple(map(blank, sample.images)) if image == "blank" else ()
            yield msgspec.structs.replace(sample, images=shown)


def blank(image: Image) -> Image:
    """Mid-grey of the same size. Raises ``SetupError`` where the size cannot be told."""
    data = image.read()
    size = image.size or look(data).size
    if size is None:
        try:
            with pillow().open(io.BytesIO(data)) as opened:
                size = opened.size
        except OSError as problem:
            raise SetupError(f"{image.path or image.sha256[:12]} is no picture: {problem}") from None
    made = Image.of(plain_png(*size, GREY))
    return msgspec.structs.replace(made, made="blank, in place of the real picture", size=size)


def _shuffled(samples: list[Sample]) -> Iterator[Sample]:
    pool = {image.sha256: image for sample in samples for image in sample.images}
    names = sorted(pool)
    for sample in samples:
        own = {image.sha256 for image in sample.images}
        if own and len(own) >= len(names):
            raise SetupError("image=shuffled needs pictures of other samples, and there are none")
        shown = tuple(pool[_drawn(names, own, f"{sample.id}\0{i}")] for i in range(len(sample.images)))
        yield msgspec.structs.replace(sample, images=shown)


def _drawn(names: list[str], own: set[str], key: str) -> str:
    """A name that is not among one's own: the hash says where to begin to look."""
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % len(names)
    places = (names[(start + step) % len(names)] for step in range(len(names)))
    return next(name for name in places if name not in own)
