"""Read MIRAGE: its own ``benchmark.json``, or JSON Lines of one file for each subset.

``benchmark.json`` (github.com/Teddy-XiongGZ/MIRAGE) holds ``{subset: {id: {question, options: {A: …}, answer,
PMID?}}}``. A JSON Lines folder holds ``SUBSET.questions.jsonl[.gz]`` with id, question, options, answer; one
such file is read alone, as the subset of its name or of ``-p subset=``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError, Sample, UsageError, file_rows
from evalkit.data.bounded import read_whole
from evalkit.data.tables import suffix_of

# In the order of the paper's Table 6. PubMedQA and BioASQ come without their abstracts.
SUBSETS = {
    "mmlu": "MMLU-Med",
    "medqa": "MedQA-US",
    "medmcqa": "MedMCQA",
    "pubmedqa": "PubMedQA*",
    "bioasq": "BioASQ-Y/N",
}


def questions(data: Path | None, subset: str) -> Iterator[Sample]:
    """Yield the questions of one subset, or of ``all`` subsets in the data.

    Raises ``UsageError`` where the data is missing, ``CorpusError`` for a broken question.
    """
    if data is None:
        raise UsageError(
            "MIRAGE is not on the hub: download benchmark.json from github.com/Teddy-XiongGZ/MIRAGE "
            "and set -p data=benchmark.json"
        )
    if not data.exists():
        raise UsageError(f"-p data={data}: no such file or folder")
    file = data / "benchmark.json" if data.is_dir() else data
    if file.is_file() and suffix_of(file) != ".json":
        named = file.name.split(".")[0]
        subsets = _file(file, named if named in SUBSETS else subset)
    else:
        subsets = _benchmark(file) if file.is_file() else _folder(data)
    if not subsets:
        raise UsageError(
            f"-p data={data}: it has neither benchmark.json nor a SUBSET.questions.jsonl[.gz]; the "
            f"subsets are {', '.join(SUBSETS)}"
        )
    if subset != "all" and subset not in subsets:
        raise UsageError(f"-p subset={subset}: {data} holds only {', '.join(subsets)}")
    for name in subsets if subset == "all" else [subset]:
        for where, id_, row in subsets[name]:
            yield _sample(name, where, id_, row)


Rows = Iterator[tuple[str, str, dict[str, Any]]]


def _benchmark(file: Path) -> dict[str, Rows]:
    try:
        document = msgspec.json.decode(read_whole(file), type=dict[str, dict[str, dict[str, Any]]])
    except msgspec.MsgspecError as error:
        raise CorpusError(f"{file} is no benchmark.json of MIRAGE: {error}") from None

    def rows(name: str) -> Rows:
        for id_, row in document[name].items():
            yield f"{file}, {name}, {id_}", id_, row

    return {name: rows(name) for name in SUBSETS if name in document}


def _folder(folder: Path) -> dict[str, Rows]:
    names = (name for name in SUBSETS if any(folder.glob(f"{name}.questions.jsonl*")))
    return {name: _lines(folder, name) for name in names}


def _file(file: Path, name: str) -> dict[str, Rows]:
    if name not in SUBSETS:
        raise UsageError(f"-p data={file}: say which subset it is by -p subset=; known: {', '.join(SUBSETS)}")
    return {name: _lines(file, name)}


def _lines(data: Path, name: str) -> Rows:
    for row in file_rows(data, f"{name}.questions", "id"):
        yield f"{data}, {name}, {row['id']}", str(row["id"]), row


def _sample(subset: str, where: str, id_: str, row: dict[str, Any]) -> Sample:
    try:
        question, options, answer = row["question"], row["options"], row["answer"]
        letters = sorted(options)
        subject = (row.get("meta") or {}).get("subject")
        return Sample(
            f"{subset}:{id_}",
            question,
            choices=tuple(options[letter] for letter in letters),
            answer={letter: place for place, letter in enumerate(letters)}[answer],
            slices={"subset": SUBSETS[subset], **({"subject": subject} if subject else {})},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"{where}: a question needs question, options {{A: …}} and answer, one of their letters ({error})"
        ) from None
