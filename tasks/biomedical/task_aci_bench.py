"""ACI-BENCH: write the clinical note of a visit from the whole conversation between doctor and patient.

ROUGE as in the paper: words are not stemmed, and its "ROUGE-L" is ``rougeLsum`` over lines. The
four divisions of a note, found by their headings, are also scored. Data: Yim et al. 2023 (CC BY 4.0;
simulated visits), hub id mkieffer/ACI-Bench, or local files by ``-p data=FOLDER`` or ``FILE``: the folder
``challenge_data`` or ``challenge_data_json`` of github.com/wyim/aci-bench, or ``SPLIT.pairs.jsonl[.gz]`` (id,
subset, dialogue, note).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit import Answer, Info, Model, Sample, hub_rows, task
from evalkit.data.files import split_rows
from evalkit.data.hub import local_folder
from evalkit.metrics import length, rouge

from .notes import DIVISIONS, within

PROMPT = (Path(__file__).parent / "prompts" / "aci_bench.txt").read_text(encoding="utf-8")
SUBSETS = ("virtassist", "virtscribe", "aci")
FIELDS = ("dialogue", "note")
OFFICIAL = {
    "test1": (
        "clinicalnlp_taskB_test1.csv",
        "clinicalnlp_taskB_test1_full.json",
        "clinicalnlp_taskB_test1.json",
    ),
    "test2": (
        "clinicalnlp_taskC_test2.csv",
        "clinicalnlp_taskC_test2_full.json",
        "clinicalnlp_taskC_test2.json",
    ),
    "test3": ("clef_taskC_test3.csv", "clef_taskC_test3_full.json", "clef_taskC_test3.json"),
    "valid": ("valid.csv", "valid_full.json", "valid.json"),
    "train": ("train.csv", "train_full.json", "train.json"),
}
COLUMNS = {"encounter_id": "id", "file": "id", "dataset": "subset", "src": "dialogue", "tgt": "note"}


def samples(data: Path | None = None, split: str = "test1") -> Iterator[Sample]:
    home = local_folder(data)
    if home is not None:
        files = {"names": ("{}.pairs",), "official": OFFICIAL, "columns": COLUMNS}
        for row in split_rows(home, split, "id", *FIELDS, **files):
            subset = row.get("subset") or row["id"].rpartition("-")[2]
            yield Sample(row["id"], row["dialogue"], row["note"], slices={"subset": subset})
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
        size="40 visits in each of three test sets, 20 (valid), 67 (train)",
        ids="the visit: 'D2N088'",
    ),
)
async def aci_bench(sample: Sample, model: Model) -> Answer:
    """Write the clinical note of a visit from its conversation."""
    return Answer(await model.generate(PROMPT.format(dialogue=sample.input), max_tokens=1500))
