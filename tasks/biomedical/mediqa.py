"""Read MEDIQA 2021's second task as it is published: a sheet of answers, and text files for the rest.

The files of a split have ``TestSet`` or ``ValidationSet`` in their names. A line of a text file is
``ID||TEXT``; the sheet's columns are the question's number, the answer's name and the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit import CorpusError
from evalkit.data.files import folder_of
from evalkit.data.tables import table_rows

SETS = {"test": "TestSet", "validation": "ValidationSet"}


def multi_answer(data: Path, split: str) -> Iterator[dict[str, Any]] | None:
    """Return the rows of a split (id, question, answers, abstractive, extractive).

    None where ``data`` holds no published files of the split.
    """
    found = None if data.is_file() and data.suffix != ".xlsx" else _files(folder_of(data), split)
    return None if found is None else _rows(found)


def _files(folder: Path, split: str) -> dict[str, Path] | None:
    if split not in SETS or not folder.exists():
        return None
    kinds = {"questions": r"shortquestions\.txt", "answers": r"answers\.xlsx"}
    kinds |= {"abstractive": r"multiabstra\w*\.txt", "extractive": r"multiextra\w*\.txt"}
    files = [path for depth in ("", "*/", "*/*/") for path in sorted(folder.glob(f"{depth}*"))]
    files = [path for path in files if SETS[split].lower() in path.name.lower()]
    found = {
        kind: next((path for path in files if re.search(f"_{pattern}$", path.name.lower())), None)
        for kind, pattern in kinds.items()
    }
    whole = {kind: path for kind, path in found.items() if path is not None}
    return whole if len(whole) == len(kinds) else None


def _rows(files: dict[str, Path]) -> Iterator[dict[str, Any]]:
    answers: dict[str, list[dict[str, str]]] = {}
    for row in table_rows(files["answers"]):
        values = [str(value) for value in row.values()]
        if len(values) < 3:
            raise CorpusError(
                f"{row.place}: it needs the question's number, the answer's name and the answer"
            )
        number, name, text = values[:3]
        answers.setdefault(number.removesuffix(".0"), []).append({"answer_id": name, "text": text})
    abstractive, extractive = _texts(files["abstractive"]), _texts(files["extractive"])
    for number, question in _texts(files["questions"]).items():
        try:
            texts = {"abstractive": abstractive[number], "extractive": extractive[number]}
            yield {"id": number, "question": question, "answers": answers[number], **texts}
        except KeyError:
            raise CorpusError(
                f"{files['questions']}: question {number} has no answers or no summary"
            ) from None


def _texts(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    pairs = (line.partition("||") for line in lines if line.strip())
    return {number.strip(): text.strip() for number, _, text in pairs}
