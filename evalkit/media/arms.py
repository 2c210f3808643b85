"""Image arms: does a model use the picture? A vision task runs with its real pictures and with others.

``real``: unchanged; ``blank``: grey, of the same size; ``shuffled``: another sample's; ``none``: no picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar, get_args

import msgspec

from evalkit.errors import RequestRejected, SetupError
from evalkit.media.pixels import plain_png
from evalkit.media.ready import ready_image
from evalkit.media.sniff import look
from evalkit.task import parametrize
from evalkit.types import Image, MediaSupport, Sample

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

    A shuffled picture is drawn by the sample's id from the pictures of all other clusters (patients), so that
    it is the same in every run, with any limit; those of one sample differ, if there are enough. Raises
    ``SetupError`` if there is none.
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
    """Return a mid-grey picture of the size that the real one has when it is sent.

    Raises ``SetupError`` if the real one cannot be sent.
    """
    try:
        sent = ready_image(image, MediaSupport())
    except RequestRejected as problem:
        raise SetupError(f"image=blank needs the size of each picture: {problem}") from None
    size = sent.size or look(sent.read()).size
    assert size is not None, "a picture of unknown size is converted"
    grey = Image.of(plain_png(*size, GREY))
    return msgspec.structs.replace(grey, made="blank, in place of the real picture", size=size)


def _shuffled(samples: list[Sample]) -> Iterator[Sample]:
    pool = {image.sha256: image for sample in samples for image in sample.images}
    names = sorted(pool)
    by_cluster: dict[str, set[str]] = {}
    for sample in samples:
        by_cluster.setdefault(_cluster(sample), set()).update(image.sha256 for image in sample.images)
    for sample in samples:
        own = by_cluster[_cluster(sample)]
        if sample.images and len(own) >= len(names):
            raise SetupError(
                f"image=shuffled needs pictures of other samples and other clusters than {sample.id!r} has, "
                "and there are none"
            )
        drawn: list[str] = []
        for i in range(len(sample.images)):
            taken = own.union(drawn)
            drawn.append(_draw(names, taken if len(taken) < len(names) else own, f"{sample.id}\0{i}"))
        yield msgspec.structs.replace(sample, images=tuple(pool[name] for name in drawn))


def _cluster(sample: Sample) -> str:
    return f"cluster {sample.cluster}" if sample.cluster is not None else f"sample {sample.id}"


def _draw(names: list[str], taken: set[str], key: str) -> str:
    """Return the first name outside ``taken``, from the position that the hash of ``key`` gives."""
    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % len(names)
    rotated = (names[(start + step) % len(names)] for step in range(len(names)))
    return next(name for name in rotated if name not in taken)
