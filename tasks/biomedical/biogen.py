"""Reading TREC BioGen: topics as the track gives them out, and the PMIDs that an answer cites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError, Passage, Sample, UsageError
from evalkit.retrieval.trec import read_qrels

CITED = 3  # PMIDs of one citation list that the track looks at

_PMID = r"(?:PMID)?[:\s]{0,3}\d{1,9}\s{0,3}"
_LIST = re.compile(rf"\[({_PMID}(?:[,;]\s{{0,3}}{_PMID}){{0,60}})\]", re.IGNORECASE)


def topics(data: Path | None = None) -> Iterator[Sample]:
    """The topics of a file, or of a folder's ``*topics*``, with the judgements in ``*qrels*`` beside it.

    Raises ``UsageError`` where there is no such file, ``CorpusError`` for a broken topic.
    """
    if data is None:
        raise UsageError(
            "BioGen is no data set of the hub: get the topics from trec-biogen.github.io and give them by "
            "-p data=FOLDER, and abstracts to search (id: the PMID) by -p documents=FILE"
        )
    file = _only(data, "*topics*")
    if file is None:
        raise UsageError(f"-p data={data}: no such file, or no file *topics* in the folder")
    judged = _only(file.parent, "*qrels*")
    qrels = {} if judged is None else read_qrels(judged)
    for number, row in enumerate(_rows(file), 1):
        try:
            name = str(row["id"] if "id" in row else row["topic_id"])
            yield Sample(
                name,
                row["question"],
                row.get("answer", ""),
                relevance=qrels.get(name, {}),
                metadata={"narrative": row.get("narrative", "")},
            )
        except (KeyError, TypeError) as error:
            raise CorpusError(f"{file}: topic {number} needs id, question and narrative ({error})") from None


def marked(reply: str, passages: Sequence[Passage]) -> str:
    """The reply with each list of PMIDs as the marks of the passages: ``[123, 456]`` becomes ``[2][5]``.

    Of a list the first three count, as in the track. A PMID that was not shown becomes a mark that points
    nowhere.
    """
    numbers: dict[int, int] = {}
    for number, passage in enumerate(passages, 1):
        numbers.setdefault(pmid(passage), number)

    def marks(found: re.Match[str]) -> str:
        named = [int(digits) for digits in re.findall(r"\d+", found[1])][:CITED]
        return "".join(f"[{numbers.get(one, len(passages) + 1)}]" for one in named)

    return _LIST.sub(marks, reply)


def pmid(passage: Passage) -> int:
    """The PMID of a passage's document. Raises ``CorpusError`` where its id is none."""
    digits = passage.document.removeprefix("pmid:")
    if not digits.isascii() or not digits.isdigit():
        raise CorpusError(f"document {passage.document!r}: BioGen cites PMIDs, and the id is none")
    return int(digits)


def _only(place: Path, pattern: str) -> Path | None:
    if place.is_dir():
        return next(iter(sorted(place.glob(pattern))), None)
    return place if place.exists() else None


def _rows(file: Path) -> list[dict[str, Any]]:
    """``{"topics": […]}``, a list, or an object on each line."""
    text = file.read_bytes()
    try:
        found = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        try:
            return [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
        except msgspec.MsgspecError as error:
            raise CorpusError(f"{file} holds no topics in JSON: {error}") from None
    if isinstance(found, dict):
        found = found.get("topics", [found])
    return list(found)
