"""MTS-Dialog: write one section of a clinical note from a short conversation.

Scores by section; words are not stemmed, as in the evaluation of MEDIQA-Chat. Data: Ben Abacha et al. 2023
(CC BY 4.0), hub id lyumengxian/MTS-Dialog, or ``SPLIT.jsonl[.gz]`` (id, section, dialogue, reference) by
``-p data=FOLDER``. Of its 200 references (test 1) 14 are one word, without a bigram: ROUGE-2 is at most
0.93.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Sample, file_rows, hub_rows, task
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


def samples(
    data: Path | None = None, split: Literal["test1", "validation", "train"] = "test1"
) -> Iterator[Sample]:
    home = local_folder(data)
    if home is not None:
        for row in file_rows(home, split, "id", "section", "dialogue", "reference"):
            yield Sample(row["id"], row["dialogue"], row["reference"], slices={"section": row["section"]})
        return
    fields = ("ID", "section_header", "dialogue", "section_text")
    name = "test" if split == "test1" else split
    for row in hub_rows("lyumengxian/MTS-Dialog", None, name, data, fields=fields):
        section = row["section_header"].strip().upper()
        yield Sample(str(row["ID"]), row["dialogue"], row["section_text"], slices={"section": section})


@task(
    samples,
    metrics=[*(rouge(kind, stem=False) for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum")), length()],
    tags=["biomedical", "summarization", "dialogue"],
    info=Info(
        "MTS-Dialog, Ben Abacha et al. 2023; hub id lyumengxian/MTS-Dialog",
        licence="CC BY 4.0",
        size="200 conversations (test 1), 100 (validation), 1,201 (train)",
    ),
)
async def mts_dialog(sample: Sample, model: Model) -> Answer:
    """Write one section of a clinical note from a short conversation."""
    section = SECTIONS.get(sample.slices["section"], sample.slices["section"].lower())
    return Answer(await model.generate(PROMPT.format(dialogue=sample.input, section=section), max_tokens=400))
