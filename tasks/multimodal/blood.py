"""Questions about blood smears (BCCD): from a local file, or computed from the boxes of the hub's copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit import Image, Sample, file_rows, hub_rows
from evalkit.data.files import folder_of
from evalkit.media import row_image

# The main revision needs a loading script; this one, made by the hub, has the same data as Parquet.
HUB, REVISION = "keremberke/blood-cell-object-detection", "refs/convert/parquet"
CELLS = ("Platelets", "RBC", "WBC")  # the hub's categories, in order
RANGES = {"A": "8 or fewer", "B": "9 to 15", "C": "16 or more"}
QUARTERS = {"A": "upper left", "B": "upper right", "C": "lower left", "D": "lower right"}
MARGIN = 0.08  # of width and height: a cell nearer to a middle line is in no quarter


@dataclass(frozen=True)
class Cell:
    """A cell and its centre, as fractions of the image's width and height."""

    label: str
    x: float
    y: float


def questions(data: Path | None, split: str, pictures: bool = True) -> Iterator[Sample]:
    """Yield the questions; those about one smear form a cluster.

    Without ``pictures``, a question whose photograph is not there comes without it.
    """
    if data is None or data.suffix == ".parquet":
        for row in hub_rows(HUB, "full", split, file=data, revision=REVISION):
            picture = row_image(row, "image", data and data.parent)
            yield from (sample_of(q, picture) for q in asked(f"bccd-{row['image_id']}", _hub_cells(row)))
        return
    for row in file_rows(data, "questions", "id", "question", "answer", "answer_type", "image"):
        file = folder_of(data) / "images" / row["image"]
        yield sample_of(row, Image.open(file) if pictures or file.exists() else None)


def sample_of(row: dict[str, Any], picture: Image | None) -> Sample:
    """Return a question as a sample; the target of a choice is a letter."""
    return Sample(
        row["id"],
        row["question"],
        row["answer"],
        choices=tuple(row.get("options", {}).values()),
        images=() if picture is None else (picture,),
        cluster=row["image"] if picture is None else picture.sha256[:16],
        slices={"answer_type": row["answer_type"], "about": row["id"].rpartition("-")[2]},
        metadata={"tolerance": row.get("tolerance", 0)},
    )


def asked(name: str, cells: list[Cell]) -> Iterator[dict[str, Any]]:
    """Yield the questions about a smear, by fixed rules."""
    white = [cell for cell in cells if cell.label == "WBC"]
    platelets = sum(cell.label == "Platelets" for cell in cells)
    red = sum(cell.label == "RBC" for cell in cells)
    yield {
        "id": f"{name}-wbc",
        "answer": str(len(white)),
        "answer_type": "number",
        "question": "How many white blood cells (large cells with a dark purple nucleus) are in this blood "
        "smear image? Answer with a number.",
    }
    yield {
        "id": f"{name}-plt",
        "answer": "yes" if platelets else "no",
        "answer_type": "closed",
        "question": "Are any platelets visible in this blood smear image?",
    }
    if platelets:
        yield {
            "id": f"{name}-nplt",
            "answer": str(platelets),
            "answer_type": "number",
            "tolerance": 1,
            "question": "How many platelets are in this blood smear image? Answer with a number.",
        }
    yield {
        "id": f"{name}-rbc",
        "answer": "A" if red <= 8 else "B" if red <= 15 else "C",
        "answer_type": "choice",
        "question": "About how many red blood cells are visible in this image?",
        "options": RANGES,
    }
    if len(white) == 1 and min(abs(white[0].x - 0.5), abs(white[0].y - 0.5)) > MARGIN:
        yield {
            "id": f"{name}-pos",
            "answer": "ABCD"[(white[0].x > 0.5) + 2 * (white[0].y > 0.5)],
            "question": "In which quarter of the image does the centre of the white blood cell lie?",
            "answer_type": "choice",
            "options": QUARTERS,
        }


def _hub_cells(row: dict[str, Any]) -> list[Cell]:
    """Return the cells of a row, whose boxes are left, top, width, height (COCO)."""
    boxes = zip(row["objects"]["category"], row["objects"]["bbox"], strict=True)
    return [
        Cell(CELLS[kind], (x + w / 2) / row["width"], (y + h / 2) / row["height"])
        for kind, (x, y, w, h) in boxes
    ]
