"""Numbers and foreign text, made ready to be shown.

What a model, a data set or a corpus says is hostile: it goes through ``show`` (a code block, never Markdown:
an image link in Markdown is fetched by the reader's browser) or, as a name inside a heading, ``escape``.
"""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from evalkit.types import Estimate

LONG = 20_000
"""Characters of one text that are shown before the reader asks for all."""


def escape(text: str) -> str:
    """Text for a Markdown heading, with nothing left that Markdown or Streamlit would act on."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def show(text: str, key: str, empty: str = "(empty)") -> None:
    """A text as it is, wrapped; only its beginning where it is very long, with a switch for the rest."""
    if not text:
        st.caption(empty)
        return
    whole = len(text) <= LONG or st.toggle(f"Show all {len(text):,} characters", key=f"all-{key}")
    if not whole:
        st.caption(f"The first {LONG:,} of {len(text):,} characters:")
    st.code(text if whole else text[:LONG], language=None, wrap_lines=True)


def number(value: float | None) -> str:
    """Three decimals; a dash for nothing."""
    return "–" if value is None or value != value else f"{value:,.3f}"


def interval(estimate: Estimate | None) -> str:
    """``[0.412, 0.498]``"""
    return "–" if estimate is None else f"[{number(estimate.ci[0])}, {number(estimate.ci[1])}]"


def moment(seconds: float | None) -> str:
    """Seconds since 1970 as date and time, UTC."""
    return "–" if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def duration(seconds: float) -> str:
    """``42.0 s``, ``3 min 20 s``, ``2 h 05 min``"""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def variant(params: Mapping[str, Any], name: str) -> str:
    """What tells a task variant from its sisters: ``arm=oracle, k=5``."""
    inner = name.partition("[")[2].removesuffix("]")
    return inner.replace(",", ", ") or ", ".join(f"{k}={v}" for k, v in params.items()) or "default"


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file. A cell that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_cell(column) for column in columns])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return "" if value is None else value
