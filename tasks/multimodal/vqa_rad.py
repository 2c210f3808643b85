"""Read VQA-RAD: from the hub (image, question, answer), or from JSON Lines beside a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit import Image, Sample, file_rows, hub_rows
from evalkit.media import row_image

HUB = "flaviagiammarino/vqa-rad"
_SPELT = {"ATRIB": "ATTRIB", "PRSE": "PRES"}


def questions(data: Path | None, split: str) -> Iterator[Sample]:
    """Yield the questions of one official split, or of ``all``; those about one image form a cluster."""
    if data is None or data.suffix == ".parquet":
        for part in ("train", "test") if split == "all" else (split,):
            for index, row in enumerate(hub_rows(HUB, None, part, file=data)):
                yield _from_hub(f"{part}-{index}", row, data)
        return
    for row in file_rows(data, "questions"):
        if split in ("all", row["official_split"]):
            picture = Image.open(data / "images" / row["image"])
            kinds = {_SPELT.get(kind, kind.upper()) for kind in row["question_type"]}
            slices = {
                "answer_type": row["answer_type"],
                "question_type": kinds.pop() if len(kinds) == 1 else "several",
                "organ": row["organ"],
            }
            yield _sample(row["id"], row, picture, slices)


def _from_hub(name: str, row: dict[str, Any], file: Path | None) -> Sample:
    """Return a row of the hub as a sample; closed are the questions with the answer yes or no."""
    picture = row_image(row, "image", file and file.parent)
    closed = row["answer"].strip().lower() in ("yes", "no")
    return _sample(name, row, picture, {"answer_type": "closed" if closed else "open"})


def _sample(name: str, row: dict[str, Any], picture: Image, slices: dict[str, str]) -> Sample:
    question, answer = row["question"].strip(), row["answer"].strip()
    return Sample(name, question, answer, images=(picture,), cluster=picture.sha256[:16], slices=slices)
