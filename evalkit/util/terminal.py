"""The one console of rich: foreign text in tables and progress bars cannot steer the terminal.

Import it where something is printed, because rich takes long to load.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment

from evalkit.util.printable import printable


class Console(console.Console):
    """A console that reads no markup in plain strings, and escapes control characters in all text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
        """Yield the pieces of a renderable; rich's own control codes stay."""
        for segment in super().render(*arguments, **options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
