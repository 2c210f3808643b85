"""MATH-Vision: problems of mathematics competitions that need their figure, answered freely or by letter.

Data: Wang et al. 2024 (MIT), hub id MathLLMs/MathVision, or a local folder by ``-p data=FOLDER``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Image, Info, Model, Requirements, Sample, Status, task
from evalkit.data.hub import file_rows, hub_rows
from evalkit.media import ImageArm, image_arms, in_arm, interleaved, row_image
from evalkit.metrics import math_answer
from evalkit.metrics.vision import read_math

PROMPT = (Path(__file__).parent / "prompts" / "math_vision.txt").read_text(encoding="utf-8")


def problems(data: Path | None, split: str) -> Iterator[Sample]:
    """Yield the problems that have a figure."""
    hub = data is None or data.suffix == ".parquet"
    rows = hub_rows("MathLLMs/MathVision", None, split, file=data) if hub else file_rows(data, "questions")
    for row in rows:
        if hub:
            figure = row_image(row, "decoded_image", data and data.parent)
        elif row["has_image"] and (split == "test" or row["testmini"]):
            figure = Image.open(data / "images" / row["image"])
        else:
            continue
        slices = {
            "level": str(row["level"]),
            "subject": row["subject"],
            "form": "choice" if row["options"] else "free",
        }
        yield Sample(
            row["id"],
            row["question"],
            row["answer"],
            choices=tuple(row["options"]),
            images=(figure,),
            slices=slices,
        )


def samples(
    data: Path | None = None, split: Literal["testmini", "test"] = "testmini", image: ImageArm = "real"
) -> Iterator[Sample]:
    return in_arm(problems(data, split), image)


@task(
    samples,
    metrics=[math_answer()],
    tags=["multimodal", "mathematics"],
    needs=Requirements(images=True),
    info=Info(
        "MATH-Vision, Wang et al. 2024; hub id MathLLMs/MathVision",
        licence="MIT",
        size="304 problems (testmini), 3,040 (test)",
    ),
)
@image_arms
async def math_vision(sample: Sample, model: Model) -> Answer:
    """Solve a competition problem from its text and figure."""
    options = "\n".join(f"({chr(65 + i)}) {text}" for i, text in enumerate(sample.choices))
    form = "the letter of the right option" if options else "your answer"
    prompt = PROMPT.format(question=sample.input, options=options, form=form)
    response = await model.generate([interleaved(prompt, sample.images)], max_tokens=2048)
    return Answer(response, status=Status.UNPARSED if read_math(response.text) is None else None)
