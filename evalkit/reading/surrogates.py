"""Half surrogate pairs: a reply that was cut inside an emoji, or a row of data with half of one.

Python's strings can hold them; UTF-8 cannot, so that JSON, databases, hashes and terminals refuse the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
