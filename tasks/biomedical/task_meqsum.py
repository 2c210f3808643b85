"""MeQSum: reduce a patient's long message to one short question.

The floor: a repetition of the message (``--model baseline:echo``) scores ROUGE-1 20.1, ROUGE-2 7.7 and
ROUGE-L 15.6.

Data: Ben Abacha and Demner-Fushman 2019, hub id bigbio/meqsum (File, CHQ, Summary), or
``meqsum.jsonl[.gz]`` (id, question, summary) by ``-p data=FOLDER``; with ``-p part=mediqa_qs_validation``
the file of MEDIQA 2021's first task.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Sample, UsageError, file_rows, hub_rows, task
from evalkit.data.hub import PARQUET, local_folder
from evalkit.metrics import length

from .measures import ROUGE

PROMPT = (Path(__file__).parent / "prompts" / "meqsum.txt").read_text(encoding="utf-8")


def samples(
    data: Path | None = None, part: Literal["meqsum", "mediqa_qs_validation"] = "meqsum"
) -> Iterator[Sample]:
    home = local_folder(data)
    if home is not None:
        for row in file_rows(home, part, "id", "question", "summary"):
            yield Sample(row["id"], row["question"], row["summary"])
        return
    if part != "meqsum":
        raise UsageError(f"-p part={part} is not on the hub: set -p data=FOLDER")
    fields = ("File", "CHQ", "Summary")
    for row in hub_rows("bigbio/meqsum", "meqsum_source", "train", data, revision=PARQUET, fields=fields):
        yield Sample(row["File"], row["CHQ"], row["Summary"])


@task(
    samples,
    metrics=[*ROUGE, length()],
    tags=["biomedical", "summarization", "consumer"],
    info=Info(
        "MeQSum, Ben Abacha and Demner-Fushman 2019; hub id bigbio/meqsum",
        licence="CC BY 4.0",
        size="1,000 messages",
    ),
)
async def meqsum(sample: Sample, model: Model) -> Answer:
    """Summarize a patient's message as one short question."""
    return Answer(await model.generate(PROMPT.format(message=sample.input), max_tokens=100))
