"""Read VQA-RAD: from the hub (image, question, answer), or from a local file beside a folder of images.

The file is ``VQA_RAD Dataset Public.json`` as published, beside ``VQA_RAD Image Folder``, or
``questions.jsonl`` (id, image, question, answer, answer_type, question_type, organ, official_split) beside
``images``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit import Image, Sample, UsageError, hub_rows
from evalkit.data.files import folder_of, split_rows
from evalkit.media import row_image

HUB = "flaviagiammarino/vqa-rad"
_SPELT = {"ATRIB": "ATTRIB", "PRSE": "PRES"}


OFFICIAL = {"questions": ("VQA_RAD Dataset Public*.json", "VQA_RAD*.json")}
COLUMNS = {"qid": "id", "image_name": "image", "image_organ": "organ"}
FIELDS = ("id", "image", "question", "answer", "answer_type")


def questions(data: Path | None, split: str, pictures: bool = True) -> Iterator[Sample]:
    """Yield the questions of one official split, or of ``all``; those about one image form a cluster.

    Without ``pictures``, a question whose image is not there comes without it.
    """
    if data is None or data.suffix == ".parquet":
        for part in ("train", "test") if split == "all" else (split,):
            for index, row in enumerate(hub_rows(HUB, None, part, file=data)):
                yield _from_hub(f"{part}-{index}", row, data)
        return
    found = set()
    for row in split_rows(data, "questions", *FIELDS, official=OFFICIAL, columns=COLUMNS):
        part = row.get("official_split") or _part(row)
        found.add(part)
        if split in ("all", part):
            yield _from_file(row, _picture(folder_of(data), row["image"], pictures))
    if split != "all" and split not in found:
        raise UsageError(f"-p split={split}: {data} has the splits {', '.join(sorted(found))}, and all")


def _part(row: dict[str, Any]) -> str:
    """Return the split of a published row: its phrase_type begins with ``test`` in the test set."""
    return "test" if str(row.get("phrase_type", "")).startswith("test") else "train"


def _picture(folder: Path, name: str, needed: bool) -> Image | None:
    places = [folder / home / name for home in ("images", "VQA_RAD Image Folder", "")]
    there = next((place for place in places if place.is_file()), None)
    return Image.open(there or places[0]) if there or needed else None


def _from_file(row: dict[str, Any], picture: Image | None) -> Sample:
    kinds = row.get("question_type") or []
    kinds = {
        _SPELT.get(kind.strip(), kind.strip().upper())
        for kind in (kinds.split(",") if isinstance(kinds, str) else kinds)
    }
    slices = {
        "answer_type": row["answer_type"].strip().lower(),
        "question_type": kinds.pop() if len(kinds) == 1 else "several",
        "organ": row.get("organ", ""),
    }
    return _sample(str(row["id"]), row, picture, row["image"], slices)


def _from_hub(name: str, row: dict[str, Any], file: Path | None) -> Sample:
    """Return a row of the hub as a sample; closed are the questions with the answer yes or no."""
    picture = row_image(row, "image", file and file.parent)
    closed = row["answer"].strip().lower() in ("yes", "no")
    return _sample(name, row, picture, "", {"answer_type": "closed" if closed else "open"})


def _sample(
    name: str, row: dict[str, Any], picture: Image | None, file: str, slices: dict[str, str]
) -> Sample:
    question, answer = row["question"].strip(), str(row["answer"]).strip()
    images = () if picture is None else (picture,)
    cluster = file if picture is None else picture.sha256[:16]
    return Sample(name, question, answer, images=images, cluster=cluster, slices=slices)
