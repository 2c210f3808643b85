"""Reading MIRAGE: its own ``benchmark.json``, or JSON Lines of one file for each subset.

``benchmark.json`` (github.com/Teddy-XiongGZ/MIRAGE) holds ``{subset: {id: {question, options: {A: …}, answer,
PMID?}}}``. A JSON Lines folder holds ``SUBSET.questions.jsonl[.gz]`` with id, question, options, answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError, Sample, UsageError, file_rows

# In the order of the paper's Table 6. PubMedQA and BioASQ come without their abstracts.
SUBSETS = {
    "mmlu": "MMLU-Med",
    "medqa": "MedQA-US",
    "medmcqa": "MedMCQA",
    "pubmedqa": "PubMedQA*",
    "bioasq": "BioASQ-Y/N",
}


def questions(data: Path | None, subset: str) -> Iterator[Sample]:
    """The questions of one subset, or of ``all`` that the data holds.

    Raises ``UsageError`` where there is no such data, ``CorpusError`` for a broken question.
    """
    if data is None:
        raise UsageError(
            "MIRAGE is no data set of the hub: get benchmark.json from github.com/Teddy-XiongGZ/MIRAGE "
            "and give it by -p data=benchmark.json"
        )
    if not data.exists():
        raise UsageError(f"-p data={data}: no such file or folder")
    file = data / "benchmark.json" if data.is_dir() else data
    found = _benchmark(file) if file.is_file() else _folder(data)
    if not found:
        raise UsageError(
            f"-p data={data}: there is neither benchmark.json nor any SUBSET.questions.jsonl[.gz] in it; the "
            f"subsets are {', '.join(SUBSETS)}"
        )
    if subset != "all" and subset not in found:
        raise UsageError(f"-p subset={subset}: {data} holds only {', '.join(found)}")
    for name in found if subset == "all" else [subset]:
        for where, id_, row in found[name]:
            yield _sample(name, where, id_, row)


Rows = Iterator[tuple[str, str, dict[str, Any]]]


def _benchmark(file: Path) -> dict[str, Rows]:
    try:
        document = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, dict[str, Any]]])
    except msgspec.MsgspecError as error:
        raise CorpusError(f"{file} is no benchmark.json of MIRAGE: {error}") from None

    def rows(name: str) -> Rows:
        for id_, row in document[name].items():
            yield f"{file}, {name}, {id_}", id_, row

    return {name: rows(name) for name in SUBSETS if name in document}


def _folder(folder: Path) -> dict[str, Rows]:
    def rows(name: str) -> Rows:
        for row in file_rows(folder, f"{name}.questions", "id"):
            yield f"{folder}, {name}, {row['id']}", str(row["id"]), row

    return {name: rows(name) for name in SUBSETS if any(folder.glob(f"{name}.questions.jsonl*"))}


def _sample(subset: str, where: str, id_: str, row: dict[str, Any]) -> Sample:
    try:
        question, options, answer = row["question"], row["options"], row["answer"]
        letters = sorted(options)
        subject = (row.get("meta") or {}).get("subject")
        return Sample(
            f"{subset}:{id_}",
            question,
            options[answer],
            choices=tuple(options[letter] for letter in letters),
            slices={"subset": SUBSETS[subset], **({"subject": subject} if subject else {})},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"{where}: a question needs question, options {{A: …}} and answer, one of their letters ({error})"
        ) from None
