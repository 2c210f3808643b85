"""MATH-Vision: problems of mathematics competitions that need their figure, answered freely or by letter.

``math_answer`` is our rule, ``math_vision_official`` that of the authors. Data: Wang et al. 2024 (MIT), hub
id MathLLMs/MathVision, or local files by ``-p data=FOLDER`` or ``FILE``: ``test.jsonl`` and
``testmini.jsonl`` of github.com/mathllm/MATH-V, or ``questions.jsonl`` with both, beside a folder ``images``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evalkit import Answer, Image, Info, Model, Requirements, Sample, Status, UsageError, hub_rows, task
from evalkit.data.files import folder_of, split_rows, splits_in
from evalkit.media import ImageArm, image_arms, in_arm, interleaved, row_image
from evalkit.metrics import math_answer, math_vision_official
from evalkit.metrics.math_vision import is_right
from evalkit.metrics.vision import read_math

PROMPT = (Path(__file__).parent / "prompts" / "math_vision.txt").read_text(encoding="utf-8")


def problems(data: Path | None, split: str, pictures: bool = True) -> Iterator[Sample]:
    """Yield the problems; those marked as without a figure (``has_image``) only without ``pictures``.

    Raises ``UsageError`` for a figure that is not there.
    """
    for row, figure in _rows(data, split):
        if figure is None and pictures:
            if row.get("has_image", True):
                raise UsageError(
                    f"-p data={data}: problem {row['id']} has no figure {row['image']} beside it"
                )
            continue
        form = "choice" if row["options"] else "free"
        yield Sample(
            str(row["id"]),
            row["question"],
            str(row["answer"]),
            choices=tuple(row["options"]),
            images=() if figure is None else (figure,),
            slices={"level": str(row["level"]), "subject": row["subject"], "form": form},
        )


def _rows(data: Path | None, split: str) -> Iterator[tuple[dict[str, Any], Image | None]]:
    """Yield the rows of a split, each with its figure, None where the file is not there."""
    if data is None or data.suffix == ".parquet":
        for row in hub_rows("MathLLMs/MathVision", None, split, file=data):
            yield row, row_image(row, "decoded_image", data and data.parent)
        return
    both = data.is_dir() and split in ("test", "testmini") and "questions" in splits_in(data, ("{}",), {})
    for row in split_rows(data, "questions" if both else split, "id", "question", "options", "answer"):
        if row.get("testmini", True) or split == "test" or not both:
            yield row, _figure(folder_of(data), row["image"])


def _figure(folder: Path, name: str) -> Image | None:
    places = (folder / "images" / name, folder / name, folder.parent / name)
    return next((Image.open(place) for place in places if place.is_file()), None)


def samples(
    pictures: bool, data: Path | None = None, split: str = "testmini", image: ImageArm = "real"
) -> Iterator[Sample]:
    return in_arm(problems(data, split, pictures), image)


@task(
    samples,
    metrics=[math_answer(), math_vision_official()],
    tags=["multimodal", "mathematics"],
    version=2,
    needs=Requirements(images=True),
    info=Info(
        "MATH-Vision, Wang et al. 2024; hub id MathLLMs/MathVision",
        licence="MIT",
        size="304 problems (testmini), 3,040 (test)",
        ids="the problem's number: '1024'",
    ),
)
@image_arms
async def math_vision(sample: Sample, model: Model) -> Answer:
    """Solve a competition problem from its text and figure."""
    options = "\n".join(f"({chr(65 + i)}) {text}" for i, text in enumerate(sample.choices))
    form = "the letter of the right option" if options else "your answer"
    prompt = PROMPT.format(question=sample.input, options=options, form=form)
    response = await model.generate([interleaved(prompt, sample.images)], max_tokens=2048)
    unread = read_math(response.text) is None and not is_right(sample, response.text)
    return Answer(response, status=Status.UNPARSED if unread else None)
