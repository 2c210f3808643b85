"""MTS-Dialog: write one section of a clinical note from a short conversation.

Scores by section; words are not stemmed, as in the evaluation of MEDIQA-Chat. Data: Ben Abacha et al. 2023
(CC BY 4.0), hub id lyumengxian/MTS-Dialog, or local files by ``-p data=FOLDER`` or ``FILE``: the CSV files of
github.com/abachaa/MTS-Dialog, or ``SPLIT.jsonl[.gz]`` (id, section, dialogue, reference). The official test
sets are ``-p split=test1`` (MEDIQA-Chat) and ``test2`` (MEDIQA-Sum). Of the 200 references of test 1, 14 are
one word, without a bigram: ROUGE-2 is at most 0.93.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit import Answer, Info, Model, Sample, hub_rows, task
from evalkit.data.files import split_rows
from evalkit.data.hub import local_folder
from evalkit.metrics import length, rouge

PROMPT = (Path(__file__).parent / "prompts" / "mts_dialog.txt").read_text(encoding="utf-8")
SECTIONS = {
    "FAM/SOCHX": "family history and social history",
    "GENHX": "history of present illness",
    "PASTMEDICALHX": "past medical history",
    "CC": "chief complaint",
    "PASTSURGICAL": "past surgical history",
    "ALLERGY": "allergies",
    "ROS": "review of systems",
    "MEDICATIONS": "medications",
    "ASSESSMENT": "assessment",
    "EXAM": "physical examination",
    "DIAGNOSIS": "diagnosis",
    "DISPOSITION": "disposition",
    "PLAN": "plan",
    "EDCOURSE": "emergency department course",
    "IMMUNIZATIONS": "immunizations",
    "IMAGING": "imaging",
    "GYNHX": "gynecologic history",
    "PROCEDURES": "procedures",
    "OTHER_HISTORY": "other history",
    "LABS": "laboratory results",
}


OFFICIAL = {
    "test1": ("MTS-Dialog-TestSet-1*",),
    "test2": ("MTS-Dialog-TestSet-2*",),
    "validation": ("MTS-Dialog-ValidationSet*",),
    "train": ("MTS-Dialog-TrainingSet*",),
}
COLUMNS = {"ID": "id", "section_header": "section", "section_text": "reference"}


def samples(data: Path | None = None, split: str = "test1") -> Iterator[Sample]:
    home = local_folder(data)
    if home is None:
        name = "test" if split == "test1" else split
        rows = (
            {COLUMNS.get(name, name): value for name, value in row.items()}
            for row in hub_rows("lyumengxian/MTS-Dialog", None, name, data, fields=(*COLUMNS, "dialogue"))
        )
    else:
        fields = ("id", "section", "dialogue", "reference")
        rows = split_rows(home, split, *fields, official=OFFICIAL, columns=COLUMNS)
    for row in rows:
        section = row["section"].strip().upper()
        yield Sample(str(row["id"]), row["dialogue"], row["reference"], slices={"section": section})


@task(
    samples,
    metrics=[*(rouge(kind, stem=False) for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum")), length()],
    tags=["biomedical", "summarization", "dialogue"],
    info=Info(
        "MTS-Dialog, Ben Abacha et al. 2023; hub id lyumengxian/MTS-Dialog",
        licence="CC BY 4.0",
        size="200 conversations each (test 1, test 2), 100 (validation), 1,201 (train)",
        ids="the file's ID, from 0: '17'",
    ),
)
async def mts_dialog(sample: Sample, model: Model) -> Answer:
    """Write one section of a clinical note from a short conversation."""
    section = SECTIONS.get(sample.slices["section"], sample.slices["section"].lower())
    return Answer(await model.generate(PROMPT.format(dialogue=sample.input, section=section), max_tokens=400))
