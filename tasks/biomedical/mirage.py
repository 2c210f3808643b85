"""Reading MIRAGE: its own ``benchmark.json``, or JSON Lines of one file for each subset.

``benchmark.json`` (github.com/Teddy-XiongGZ/MIRAGE) holds ``{subset: {id: {question, options: {A: …}, answer,
PMID?}}}``. A JSON Lines folder holds ``SUBSET.questions.jsonl[.gz]`` with id, question, options, answer.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError, Sample, UsageError

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
    paths = {name: sorted(folder.glob(f"{name}.questions.jsonl*")) for name in SUBSETS}
    return {name: _lines(found[0]) for name, found in paths.items() if found}


def _lines(path: Path) -> Rows:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            try:
                row = msgspec.json.decode(line, type=dict[str, Any])
                yield where, str(row["id"]), row
            except (msgspec.MsgspecError, KeyError) as error:
                raise CorpusError(f"{where}: no question in JSON with an id: {error}") from None


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
