"""MeQSum: reduce a patient's long message to one short question.

The floor: a repetition of the message (``--model baseline:echo``) scores ROUGE-1 20.1, ROUGE-2 7.7 and
ROUGE-L 15.6.

Data: Ben Abacha and Demner-Fushman 2019, hub id bigbio/meqsum (File, CHQ, Summary), or local files by ``-p
data=FOLDER`` or ``FILE``: the Excel files of github.com/abachaa/MeQSum and of MEDIQA 2021's first task, or
``PART.jsonl[.gz]`` (id, question, summary). ``-p part=mediqa_qs_test`` is MEDIQA-QS's test set,
``mediqa_qs_validation`` its validation set.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit import Answer, Info, Model, Sample, UsageError, hub_rows, task
from evalkit.data.files import split_rows
from evalkit.data.hub import PARQUET, local_folder
from evalkit.metrics import length

from .measures import ROUGE

PROMPT = (Path(__file__).parent / "prompts" / "meqsum.txt").read_text(encoding="utf-8")


OFFICIAL = {
    "meqsum": ("MeQSum_ACL2019*",),
    "mediqa_qs_validation": ("MEDIQA2021-Task1*ValidationSet*",),
    "mediqa_qs_test": ("MEDIQA2021-Task1*TestSet*",),
}
COLUMNS = {"File": "id", "CHQ": "question", "NLM Question": "question", "Summary": "summary"}


def samples(data: Path | None = None, part: str = "meqsum") -> Iterator[Sample]:
    home = local_folder(data)
    if home is not None:
        rows = split_rows(home, part, "question", "summary", official=OFFICIAL, columns=COLUMNS)
        for number, row in enumerate(rows, 1):
            yield Sample(str(row.get("id", number)), row["question"], row["summary"])
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
        size="1,000 messages; MEDIQA-QS: 100 (test), 50 (validation)",
        ids="the row's id or File: '1-131188152.xml.txt'; without one, the row's number from 1",
    ),
)
async def meqsum(sample: Sample, model: Model) -> Answer:
    """Summarize a patient's message as one short question."""
    return Answer(await model.generate(PROMPT.format(message=sample.input), max_tokens=100))
