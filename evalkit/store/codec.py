"""Encode records as bytes and decode them: compressed msgpack, with images by hash."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec

from evalkit.errors import StoreError
from evalkit.reading.surrogates import whole, whole_values
from evalkit.types import Answer, Sample
from evalkit.util.masking import has_secret, mask, mask_value

T = TypeVar("T")

# Short bodies gain little. A compressed body begins with zlib's mark; in msgpack that byte is a number.
_COMPRESS_ABOVE = 512
_ZLIB = b"\x78"

EXCERPT = 4000
"""Characters of a reply that are stored as plain text, to be searched and listed."""


class Payload(msgspec.Struct, frozen=True):
    """The large part of a sample, read one sample at a time."""

    answer: Answer | None = None
    requests: tuple[dict[str, Any], ...] = ()


def pack(value: Any) -> bytes:
    """Return a value as msgpack, compressed if large, without secrets of this process.

    Raises ``StoreError`` for a type that does not fit.
    """
    try:
        raw = msgspec.msgpack.encode(value, enc_hook=plain_value)
    except UnicodeEncodeError:  # half a surrogate pair: models write it, UTF-8 cannot hold it
        raw = msgspec.msgpack.encode(
            whole_values(msgspec.to_builtins(value, enc_hook=plain_value, builtin_types=(bytes,)))
        )
    except (TypeError, OverflowError, NotImplementedError, RecursionError) as error:
        raise StoreError(
            f"a sample, an answer or a run's description holds something that cannot be stored: {error}. "
            "Keep metadata to text, numbers, lists and dictionaries"
        ) from error
    if has_secret(raw):
        raw = msgspec.msgpack.encode(mask_value(msgspec.msgpack.decode(raw)))
    return zlib.compress(raw, 3) if len(raw) > _COMPRESS_ABOVE else raw


def unpack(body: bytes, kind: type[T]) -> T:
    """Return the value that ``pack`` encoded. Raises ``StoreError`` for a value of other types."""
    try:
        raw = zlib.decompress(body) if body[:1] == _ZLIB else body
        return msgspec.msgpack.decode(raw, type=kind)
    except (msgspec.MsgspecError, zlib.error) as error:
        raise StoreError(
            f"a stored {kind.__name__.strip('_')} cannot be read: {error}. It is damaged, or another evalkit "
            "stored a value of a wrong type: run the task anew"
        ) from error


def pack_sample(sample: Sample) -> tuple[str, bytes]:
    """Return the digest and the bytes of a sample, with its images by hash only."""
    if sample.images:
        images = tuple(msgspec.structs.replace(image, path=None, data=None) for image in sample.images)
        sample = msgspec.structs.replace(sample, images=images)
    body = pack(sample)
    return hashlib.sha256(body).hexdigest(), body


def plain_text(text: str) -> str:
    """Return text for a column: without secrets, half surrogate pairs and NUL."""
    return whole(mask(text)).replace("\0", "\ufffd")


def plain_value(value: Any) -> Any:
    """Return numpy's values and paths as plain values. Raises ``NotImplementedError`` for other types."""
    if hasattr(value, "tolist"):  # numpy's scalars and arrays, without importing it
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise NotImplementedError(f"a {type(value).__name__}")
