"""MEDIQA-MAS: one summary of several answers to a consumer's health question.

The answers are numbered and cited. ``-p reference=extractive`` compares with the summary that consists of
their sentences. Data: Ben Abacha et al. 2021 (CC BY 4.0), by ``-p data=FOLDER``: the folder ``Task2`` of
github.com/abachaa/MEDIQA2021, or ``SPLIT.jsonl[.gz]`` (id, question, answers, abstractive, extractive), of
which ``-p data=FILE`` takes one; there is no copy on the hub. ``-p split=test`` is the official test set.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Passage, Sample, UsageError, cited, numbered, task
from evalkit.data.files import split_rows
from evalkit.metrics import citation_coverage, copy_rate, length

from . import mediqa
from .measures import ROUGE

PROMPT = (Path(__file__).parent / "prompts" / "mediqa_mas.txt").read_text(encoding="utf-8")


def samples(
    data: Path | None = None,
    reference: Literal["abstractive", "extractive"] = "abstractive",
    split: str = "validation",
) -> Iterator[Sample]:
    if data is None:
        raise UsageError("MEDIQA-MAS: download github.com/abachaa/MEDIQA2021 and set -p data=FOLDER")
    rows = mediqa.multi_answer(data, split)
    for row in rows or split_rows(data, split, "id", "question", "answers", reference):
        yield Sample(str(row["id"]), row["question"], row[reference], metadata={"answers": row["answers"]})


@task(
    samples,
    metrics=[*ROUGE, citation_coverage(), copy_rate(), length()],
    tags=["biomedical", "summarization", "multi-document", "consumer"],
    info=Info(
        "MEDIQA 2021, Ben Abacha et al. 2021; github.com/abachaa/MEDIQA2021",
        licence="CC BY 4.0",
        size="80 questions with 303 answers (test), 50 with 192 (validation)",
        ids="the question's number: '24'",
    ),
)
async def mediqa_mas(sample: Sample, model: Model) -> Answer:
    """Summarize several answers to a health question in one."""
    shown = tuple(Passage(one["answer_id"], one["text"]) for one in sample.metadata["answers"])
    prompt = PROMPT.format(answers=numbered(shown), question=sample.input)
    perfect = cited(sample.targets[0], [1])
    response = await model.generate(prompt, max_tokens=500, reference=perfect)
    return Answer(response, passages=shown, ranking=None)
