"""Blood cells: count, find and locate them in photographs of smears.

Data: BCCD (MIT), hub id keremberke/blood-cell-object-detection, or a local folder by ``-p data=FOLDER``.
The questions are computed from the boxes around the cells; white cells are labelled most reliably.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from evalkit import Answer, Info, Model, Requirements, Sample, Status, task
from evalkit.choice.extract import letter
from evalkit.media import ImageArm, image_arms, in_arm
from evalkit.metrics import accuracy, closed_accuracy, count_within, only
from evalkit.reading.answers import read_number, read_yes_no

from . import blood

PROMPT = (Path(__file__).parent / "prompts" / "blood_cells.txt").read_text(encoding="utf-8")
FORMS = {"number": "a number", "closed": "yes or no", "choice": "the letter of the right option"}


def samples(
    pictures: bool, data: Path | None = None, split: str = "test", image: ImageArm = "real"
) -> Iterator[Sample]:
    return in_arm(blood.questions(data, split, pictures), image)


@task(
    samples,
    metrics=[
        only(count_within(), "count_within", answer_type="number"),
        only(closed_accuracy(), "closed_accuracy", answer_type="closed"),
        only(accuracy(), "accuracy", answer_type="choice"),
    ],
    tags=["biomedical", "multimodal", "counting"],
    version=2,
    info=Info(
        "BCCD; hub id keremberke/blood-cell-object-detection",
        licence="MIT",
        size="364 photographs, with several questions each",
        ids="photograph and question: 'bccd-12-wbc'",
    ),
    needs=Requirements(images=True),
)
@image_arms
async def blood_cells(sample: Sample, model: Model) -> Answer:
    """Count, find and locate cells in a photograph of a blood smear."""
    kind = sample.slices["answer_type"]
    options = "\n".join(f"{chr(65 + i)}. {text}" for i, text in enumerate(sample.choices))
    prompt = PROMPT.format(question=sample.input, options=options, form=FORMS[kind])
    response = await model.generate(prompt, images=sample.images, max_tokens=256)
    readers: dict[str, Callable[[str, str], object]] = {"number": read_number, "closed": read_yes_no}
    choice = letter(response.text, sample.choices).choice if kind == "choice" else None
    read = choice if kind == "choice" else readers[kind](response.text, sample.input)
    return Answer(response, choice=choice, status=Status.UNPARSED if read is None else None)
