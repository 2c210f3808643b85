"""VQA-RAD: clinicians' questions about radiological pictures, closed and open.

Data: Lau et al. 2018 (CC0), hub id flaviagiammarino/vqa-rad, or local files by ``-p data=FOLDER``:
``VQA_RAD Dataset Public.json`` beside ``VQA_RAD Image Folder``, or ``questions.jsonl`` beside ``images``.
``-p split=all`` takes both splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit import Answer, Info, Model, Requirements, Sample, Status, task
from evalkit.media import ImageArm, image_arms, in_arm
from evalkit.metrics import closed_accuracy, exact_match, llava_med_recall, only, token_recall
from evalkit.reading.answers import read_yes_no

from . import vqa_rad as reading

PROMPT = (Path(__file__).parent / "prompts" / "vqa_rad.txt").read_text(encoding="utf-8")


def samples(
    pictures: bool, data: Path | None = None, split: str = "test", image: ImageArm = "real"
) -> Iterator[Sample]:
    return in_arm(reading.questions(data, split, pictures), image)


@task(
    samples,
    metrics=[
        only(closed_accuracy(), "closed_accuracy", answer_type="closed"),
        only(token_recall(), "open_recall", answer_type="open"),
        only(llava_med_recall(), "open_llava_med_recall", answer_type="open"),
        only(exact_match(), "open_exact", answer_type="open"),
    ],
    tags=["biomedical", "multimodal", "vqa"],
    info=Info(
        "VQA-RAD, Lau et al. 2018; hub id flaviagiammarino/vqa-rad",
        licence="CC0-1.0",
        size="451 questions (test), 1,793 (train)",
        ids="the row's id or qid; from the hub 'test-17', the split and the row from 0",
    ),
    needs=Requirements(images=True),
)
@image_arms
async def vqa_rad(sample: Sample, model: Model) -> Answer:
    """Answer a clinician's question about an X-ray, a CT or an MRI."""
    prompt = PROMPT.format(question=sample.input)
    response = await model.generate(prompt, images=sample.images, max_tokens=256)
    yes_no = sample.targets[0].lower() in ("yes", "no")
    unread = yes_no and read_yes_no(response.text, sample.input) is None
    return Answer(response, status=Status.UNPARSED if unread else None)
