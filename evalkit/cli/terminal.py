"""Tables on a terminal, by rich. Imported where something is printed, because rich takes long to load."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from evalkit.util.terminal import Console

__all__ = ["Console", "Text", "new_table"]


def new_table(title: str = "") -> Table:
    """Return an empty table; its title stands in bold at the left."""
    bold = Text(title) if title else None
    return Table(title=bold, box=SIMPLE_HEAD, title_justify="left", title_style="bold")
