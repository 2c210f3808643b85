"""Read TREC BioGen: the track's files of topics, and the PMIDs that an answer cites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError, Passage, Sample, UsageError
from evalkit.data.bounded import read_whole
from evalkit.reading.fold import fold
from evalkit.retrieval.trec import read_qrels

CITED = 3  # PMIDs of one citation that the track counts

_PMID = r"(?:PMID)?[:\s]{0,3}\d{1,9}\s{0,3}"
_LIST = re.compile(rf"\[({_PMID}(?:[,;]\s{{0,3}}{_PMID}){{0,60}})\]", re.IGNORECASE)


def topics(data: Path | None = None) -> Iterator[Sample]:
    """Yield the topics of a file, or of a folder's ``*topics*``, with the judgements of ``*qrels*`` there.

    Raises ``UsageError`` where there is no such file, ``CorpusError`` for a broken topic.
    """
    if data is None:
        raise UsageError(
            "BioGen is not on the hub: download the topics from trec-biogen.github.io and set "
            "-p data=FOLDER; set -p documents=FILE to abstracts to search (id: the PMID)"
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
    """Return the reply with PMIDs replaced by passage numbers: ``[123, 456]`` becomes ``[2][5]``.

    The first three PMIDs of a list count, as in the track. A PMID that was not shown becomes the number of no
    passage.
    """
    numbers: dict[int, int] = {}
    for number, passage in enumerate(passages, 1):
        numbers.setdefault(pmid(passage), number)

    def marks(match: re.Match[str]) -> str:
        pmids = [int(digits) for digits in re.findall(r"\d+", match[1])][:CITED]
        return "".join(f"[{numbers.get(cited_pmid, len(passages) + 1)}]" for cited_pmid in pmids)

    return _LIST.sub(marks, fold(reply))


def pmid(passage: Passage) -> int:
    """Return the PMID of a passage's document. Raises ``CorpusError`` where its id is not a PMID."""
    digits = passage.document.removeprefix("pmid:")
    if not digits.isascii() or not digits.isdigit():
        raise CorpusError(f"document {passage.document!r}: BioGen needs PMIDs as ids")
    return int(digits)


def _only(path: Path, pattern: str) -> Path | None:
    if path.is_dir():
        return next(iter(sorted(path.glob(pattern))), None)
    return path if path.exists() else None


def _rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of ``{"topics": […]}``, of a list, or of an object per line."""
    text = read_whole(file)
    try:
        document = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        try:
            return [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
        except msgspec.MsgspecError as error:
            raise CorpusError(f"{file} holds no topics in JSON: {error}") from None
    if isinstance(document, dict):
        document = document.get("topics", [document])
    return list(document)
