"""Writing figures into the documentation between markers, so that no figure is copied by hand."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def write_part(name: str, text: str, page: str = "benchmarks.md") -> None:
    """Replace the text between ``<!-- name: begin -->`` and ``<!-- name: end -->``.

    Raises ``ValueError`` where the page lacks these markers.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    path = DOCS / page
    before, rest = path.read_text(encoding="utf-8").split(begin)
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")
