"""Numbers and untrusted text, prepared for a page.

Text of a model, a data set or a corpus may be hostile. ``show`` puts it into a code block, never into
Markdown, where the reader's browser would fetch linked images. ``escape`` is for names in headings.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

from evalkit.types import Estimate

LONG = 20_000
"""The number of characters of a text that are shown until the reader asks for all."""
IN_TABLE = 30
"""The number of characters of a name that a column of a table has room for."""


_LINK = re.compile(r"(?=://|@[\w-]+\.)|(?<=www)(?=\.)", re.IGNORECASE)  # not the @ of recall@5


def escape(text: str) -> str:
    """Return text for a Markdown heading, with all marks of Markdown and Streamlit escaped.

    An invisible word joiner keeps the browser from making links of addresses.
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", _LINK.sub("\u2060", " ".join(text.split())))


def show(text: str, key: str, empty: str = "(empty)") -> None:
    """Draw a text as it is, wrapped; of a very long text the beginning, with a switch for all of it."""
    if not text:
        st.caption(empty)
        return
    show_all = len(text) <= LONG or st.toggle(f"Show all {len(text):,} characters", key=f"all-{key}")
    if not show_all:
        st.caption(f"The first {LONG:,} of {len(text):,} characters:")
    st.code(text if show_all else text[:LONG], language=None, wrap_lines=True)


def number(value: float | None) -> str:
    """Return the value with three decimals; a dash for None and NaN."""
    return "–" if value is None or value != value else f"{value:,.3f}"


def dollar_column(label: str) -> Any:
    """Return a column of US dollars, the smallest amounts too; a dash where a price is unknown."""
    return st.column_config.NumberColumn(label, format="$%.4g", width=90, help="US dollars; –: unknown price")


def interval(estimate: Estimate | None) -> str:
    """Return the interval as ``[0.412, 0.498]``, or ``undetermined`` where an end is infinite."""
    if estimate is None:
        return "–"
    if not all(map(math.isfinite, estimate.ci)):
        return "undetermined"
    return f"[{number(estimate.ci[0])}, {number(estimate.ci[1])}]"


def percents(interval: tuple[float, float]) -> str:
    """Return an interval of shares, to stand behind a share: `` [12%, 34%]``."""
    return f" [{interval[0]:.0%}, {interval[1]:.0%}]"


def short(name: str, longest: int = 44) -> str:
    """Return a name with its middle left out where it is longer than ``longest`` characters."""
    return name if len(name) <= longest else f"{name[:8]}…{name[9 - longest :]}"


def moment(seconds: float | None) -> str:
    """Return seconds since 1970 as date and time, UTC."""
    return "–" if seconds is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def duration(seconds: float) -> str:
    """Return a duration as ``42.0 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def variant(params: Mapping[str, Any], name: str) -> str:
    """Return the parameters that distinguish a task variant: ``arm=oracle, k=5``."""
    inner = name.partition("[")[2].removesuffix("]")
    return inner.replace(",", ", ") or ", ".join(f"{k}={v}" for k, v in params.items()) or "default"
