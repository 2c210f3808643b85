"""Half surrogate pairs: a reply that was cut inside an emoji, or a row of data with half of one.

Python's strings can hold them; UTF-8 cannot, so that JSON, databases, hashes and terminals refuse the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")
_ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def whole(text: str) -> str:
    """Return text that UTF-8 can hold: two halves of a pair are joined, a single half becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def whole_values(value: Any) -> Any:
    """Return plain values (dictionaries, lists, texts) with ``whole`` texts."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, Mapping):
        return {whole_values(key): whole_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole_values(item) for item in value]
    return value


def decoded_line(line: bytes, kind: type[T]) -> T:
    """Return a line of JSON as ``kind``, with ``whole`` texts: Python writes half an emoji as ``\\ud83d``.

    Raises ``msgspec.DecodeError`` (``ValidationError`` for another type), ``UnicodeDecodeError``.
    """
    decoder: msgspec.json.Decoder[T] = _decoder(cast(Any, kind))
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as problem:
        if not _ESCAPED_HALF.search(line):
            raise
        try:
            value = json.loads(line, parse_constant=_refuse)
        except ValueError:
            raise problem from None
    return msgspec.convert(whole_values(value), kind)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are no JSON
