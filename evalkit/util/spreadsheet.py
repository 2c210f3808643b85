"""CSV files that a spreadsheet opens without running what stands in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# A cell that begins so is a formula for some spreadsheet; the last four are for East Asian input.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Also separators of other countries: an unquoted one would begin a new cell there.
_QUOTED = frozenset(',;"\r\n\t|')


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a CSV file. An apostrophe protects a cell that a spreadsheet would read as a formula."""
    return "".join(",".join(map(_cell, row)) + "\n" for row in (columns, *rows))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = "'" + value if value.startswith(_FORMULA) else value
    return '"' + text.replace('"', '""') + '"' if _QUOTED.intersection(text) else text
