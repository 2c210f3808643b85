"""ACI-BENCH: write the clinical note of a visit from the whole conversation between doctor and patient.

ROUGE as in the paper: words are not stemmed, and its "ROUGE-L" is ``rougeLsum`` over lines. The
four divisions of a note, found by their headings, are also scored. Data: Yim et al. 2023 (CC BY 4.0;
simulated visits), hub id mkieffer/ACI-Bench, or ``SPLIT.pairs.jsonl[.gz]`` (id, subset, dialogue, note) by
``-p data=FOLDER``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Sample, file_rows, hub_rows, task
from evalkit.data.hub import local_folder
from evalkit.metrics import length, rouge

from .notes import DIVISIONS, within

PROMPT = (Path(__file__).parent / "prompts" / "aci_bench.txt").read_text(encoding="utf-8")
SUBSETS = ("virtassist", "virtscribe", "aci")
FIELDS = ("dialogue", "note")


def samples(
    data: Path | None = None, split: Literal["test1", "test2", "test3", "valid", "train"] = "test1"
) -> Iterator[Sample]:
    home = local_folder(data)
    if home is not None:
        for row in file_rows(home, f"{split}.pairs", "id", "subset", *FIELDS):
            yield Sample(row["id"], row["dialogue"], row["note"], slices={"subset": row["subset"]})
        return
    for subset in SUBSETS if data is None else (data.stem,):
        for row in hub_rows("mkieffer/ACI-Bench", subset, split, data, fields=("encounter_id", *FIELDS)):
            yield Sample(row["encounter_id"], row["dialogue"], row["note"], slices={"subset": subset})


@task(
    samples,
    metrics=[
        *(rouge(kind, stem=False) for kind in ("rouge1", "rouge2", "rougeLsum")),
        *(within(rouge("rouge1", stem=False), division) for division in DIVISIONS),
        length(),
    ],
    tags=["biomedical", "summarization", "dialogue"],
    info=Info(
        "ACI-BENCH, Yim et al. 2023; hub id mkieffer/ACI-Bench",
        licence="CC BY 4.0",
        size="40 visits in each of three test sets",
    ),
)
async def aci_bench(sample: Sample, model: Model) -> Answer:
    """Write the clinical note of a visit from its conversation."""
    return Answer(await model.generate(PROMPT.format(dialogue=sample.input), max_tokens=1500))
