"""A first pass over a task's samples, before any call is paid for."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from evalkit.collection.items import Item
from evalkit.errors import MetricError, SetupError
from evalkit.reading.surrogates import whole_values
from evalkit.store.codec import plain_value
from evalkit.types import Image, Sample

Samples = Callable[[], AsyncIterator[Sample]]


@dataclass(frozen=True)
class Survey:
    """The number of samples, and the SHA-256 (hex) of all of them in their order."""

    n: int
    fingerprint: str


async def survey(item: Item, samples: Samples, limit: int | None) -> Survey:
    """Count and fingerprint the samples.

    Raises ``SetupError`` for an empty data set, a repeated id, or a sample that a metric cannot score.
    """
    checks = [metric.check_sample for metric in item.task.metrics if metric.check_sample is not None]
    ids = array("q")  # hashes of 8 bytes: the ids of a million samples would take 100 MB
    digest = hashlib.sha256()
    encode = msgspec.json.Encoder(order="sorted", enc_hook=plain_value).encode
    fits = msgspec.msgpack.Encoder(enc_hook=plain_value).encode  # as the store does
    pictures: set[str] = set()
    async for sample in first_samples(samples, limit):
        try:
            for check in checks:
                check(sample)
        except MetricError as error:
            raise SetupError(f"{item.node_id}: {error}") from None
        ids.append(hash(sample.id))
        try:
            light = msgspec.structs.replace(sample, images=()) if sample.images else sample
            digest.update(encode(light))
            fits(light)
        except (TypeError, ValueError, OverflowError, NotImplementedError, RecursionError) as error:
            raise SetupError(
                f"{item.node_id}: the metadata of sample {sample.id!r} cannot be stored: {error}. "
                "Keep it to text, numbers, lists and dictionaries"
            ) from None
        for image in sample.images:
            digest.update(image.sha256.encode())
            if image.sha256 not in pictures:
                pictures.add(image.sha256)
                _check_picture(item, sample, image)
    if not ids:
        raise SetupError(f"{item.node_id}: the data set is empty")
    hashes, counts = np.unique(np.asarray(ids), return_counts=True)
    if len(hashes) < len(ids):
        await _refuse_repeated(item, samples, limit, set(hashes[counts > 1].tolist()))
    return Survey(len(ids), digest.hexdigest())


def _check_picture(item: Item, sample: Sample, image: Image) -> None:
    """Raise ``SetupError`` where the file of a picture cannot be read, or is of another kind."""
    from evalkit.media.sniff import is_picture

    try:
        if is_picture(image):
            return
        problem = "is no picture"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise SetupError(f"{item.node_id}: sample {sample.id!r}: {image.path or 'a file in memory'} {problem}")


async def _refuse_repeated(item: Item, samples: Samples, limit: int | None, suspects: set[int]) -> None:
    """Read the samples again: are ids equal, or only their hashes? Raises ``SetupError`` for equal ids."""
    seen: set[str] = set()
    async for sample in first_samples(samples, limit):
        if hash(sample.id) not in suspects:
            continue
        if sample.id in seen:
            raise SetupError(f"{item.node_id}: two samples have the id {sample.id!r}; ids must be unique")
        seen.add(sample.id)


async def first_samples(samples: Samples, limit: int | None) -> AsyncIterator[Sample]:
    """Yield the samples: the first ``limit`` of them, or all."""
    number = 0
    async for sample in samples():
        if number == limit:
            return
        number += 1
        yield _whole(sample)


_fits_utf_8 = msgspec.msgpack.Encoder(enc_hook=lambda value: None).encode


def _whole(sample: Sample) -> Sample:
    """Return a sample with U+FFFD for each half of an emoji, which neither a server nor a store can take."""
    light = msgspec.structs.replace(sample, images=()) if sample.images else sample
    try:
        _fits_utf_8(light)
    except UnicodeEncodeError:
        clean = msgspec.convert(whole_values(msgspec.to_builtins(light)), Sample)
        return msgspec.structs.replace(clean, images=sample.images)
    except (TypeError, OverflowError, RecursionError):  # refused by ``survey``, with the sample's id
        return sample
    return sample
