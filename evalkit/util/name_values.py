"""Settings written as text: ``name=value``."""

from __future__ import annotations

from collections.abc import Iterable

from evalkit.errors import UsageError


def parse_name_values(texts: Iterable[str], where: str) -> dict[str, list[str]]:
    """Return the values of ``name=value`` texts by name, in order.

    Raises ``UsageError`` for a text without a name or ``=``; the message begins with ``where``.
    """
    values: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{where} {text!r}: write it as name=value")
        values.setdefault(name.strip(), []).append(value)
    return values
