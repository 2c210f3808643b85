"""Excel files for tests: one sheet, with shared and inline texts as Excel and other programs write them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def write_sheet(path: Path, rows: Sequence[Sequence[str | int]]) -> Path:
    """Write rows to an .xlsx file: numbers as numbers, the first column's texts inline, the others shared."""
    shared: list[str] = []
    lines = []
    for number, row in enumerate(rows, 1):
        cells = ""
        for column, value in enumerate(row):
            place = f'r="{chr(65 + column)}{number}"'
            if isinstance(value, int):
                cells += f"<c {place}><v>{value}</v></c>"
            elif column == 0:
                cells += f'<c {place} t="inlineStr"><is><t>{escape(value)}</t></is></c>'
            elif value:
                cells += f'<c {place} t="s"><v>{len(shared)}</v></c>'
                shared.append(value)
        lines.append(f'<row r="{number}">{cells}</row>')
    with zipfile.ZipFile(path, "w") as book:
        sheet = f'<worksheet xmlns="{NAMESPACE}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
        book.writestr("xl/worksheets/sheet1.xml", sheet)
        texts = "".join(
            f"<si><r><t>{escape(t[:2])}</t></r><r><t>{escape(t[2:])}</t></r></si>" for t in shared
        )
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{NAMESPACE}">{texts}</sst>')
    return path
