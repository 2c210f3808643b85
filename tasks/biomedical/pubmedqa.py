"""Read PubMedQA: from the Hugging Face hub, as it is published, or from JSON Lines; and read decisions.

The hub's layout is also that of a Parquet file; the published file is ``ori_pqal.json``; ``ori_pqau.json``
has no decisions. A JSON Lines folder holds ``questions.jsonl[.gz]`` (id, question, long_answer, decision,
gold_doc_ids) and ``docs.jsonl[.gz]`` (doc_id, text: the abstract without its conclusion). The abstracts in
folders beside it (``*/docs.jsonl[.gz]``, ``*/corpus.jsonl[.gz]``) join the pool as distractors.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit import Answer, Sample, file_rows, hub_rows, metric
from evalkit.data.files import folder_of
from evalkit.data.hub import local_folder
from evalkit.reading.fold import fold

from .pool import write_pool as write_documents

HUB = ("qiaojin/PubMedQA", "pqa_labeled", "train")
# Ids of these collections are plain numbers: a prefix separates them from PubMed's.
PREFIXES = {"scifact": "s2:"}
DECISIONS = ("yes", "no", "maybe")
PUBLISHED = "ori_pqal"

_LINE = re.compile(
    r"\W*(?:(?:final\s+)?(?:decision|answer|verdict)\s*\W+)?(?P<word>yes|no|maybe)\b\W*", re.IGNORECASE
)


@dataclass(frozen=True)
class Row:
    """One question with its authors' conclusion and the abstract (conclusion cut out) that answers it."""

    id: str
    question: str
    conclusion: str
    decision: str
    document: str
    abstract: str | None = None


def questions(data: Path | None) -> Iterator[Row]:
    """Yield the questions. Raises ``UsageError`` for missing data, ``CorpusError`` for a broken line."""
    home = local_folder(data)
    if home is None:
        yield from (_from_hub(row) for row in hub_rows(*HUB, file=data))
        return
    if (published := _published(home)) is not None:
        yield from map(
            _from_published, file_rows(published, PUBLISHED, "QUESTION", "LONG_ANSWER", "CONTEXTS")
        )
        return
    for row in file_rows(home, "questions", "id", "question", "long_answer", "decision", "gold_doc_ids"):
        yield Row(row["id"], row["question"], row["long_answer"], row["decision"], row["gold_doc_ids"][0])


def documents(data: Path | None, pool: str) -> Iterator[dict[str, str]]:
    """Yield the abstracts to search: id, title, text.

    With ``pool="all"`` those in the folders beside the data's own join, wherever the command runs and however
    the path is written. What joined is said on stderr.
    """
    home = local_folder(data)
    if home is None or _published(home) is not None:
        for row in questions(data):
            yield {"id": row.document, "title": "", "text": row.abstract or ""}
        return
    yield from _documents_in(folder_of(home), "docs")
    if pool == "own":
        return
    joined = list(neighbours(home))
    if joined:
        names = ", ".join(folder.name for folder, _ in joined)
        print(f"pubmed_rag: documents of {names} join the pool; -p pool=own leaves them out", file=sys.stderr)
    for folder, name in joined:
        yield from _documents_in(folder, name, PREFIXES.get(folder.name, ""))


def neighbours(home: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders beside the data's own that hold documents, each with the name of its file."""
    own = home.resolve() if home.is_dir() else home.resolve().parent
    for folder in sorted(p for p in own.parent.iterdir() if p.is_dir() and p != own):
        for name in ("docs", "corpus"):
            if any((folder / f"{name}.jsonl{end}").exists() for end in ("", ".gz")):
                yield folder, name


def write_pool(data: Path | None, pool: str, home: Path) -> Path:
    """Write the pool to a JSON Lines file under ``home``; return its path."""
    return write_documents(documents(data, pool), home, "pubmed-pool")


def _documents_in(folder: Path, name: str, prefix: str = "") -> Iterator[dict[str, str]]:
    for row in file_rows(folder, name, "doc_id", "text"):
        yield {"id": prefix + row["doc_id"], "title": row.get("title", ""), "text": row["text"]}


def _published(home: Path) -> Path | None:
    """Return the published file: ``data`` itself if it is JSON, or ``ori_pqal.json`` in the folder."""
    if home.is_file():
        return home if home.suffix == ".json" else None
    places = (home / f"{PUBLISHED}.json", home / "data" / f"{PUBLISHED}.json")
    return next((place for place in places if place.is_file()), None)


def _from_published(row: dict[str, Any]) -> Row:
    abstract = " ".join(row["CONTEXTS"])
    decision = row.get("final_decision", "")
    return Row(row["id"], row["QUESTION"], row["LONG_ANSWER"], decision, f"pmid:{row['id']}", abstract)


def read_decision(reply: str) -> tuple[str, str | None]:
    """Return the conclusion of a reply and its decision (yes, no, maybe; None where it gives none).

    The decision is a line of its own, the last one or the first: ``Decision: yes``, or the word alone.
    """
    lines = reply.strip().splitlines()
    for place in (-1, 0):
        found = _LINE.fullmatch(fold(lines[place])) if lines else None
        if found:
            rest = [line for line in lines if line is not lines[place]]
            return "\n".join(rest).strip() or reply, found["word"].lower()
    return reply, None


@metric
def decision_accuracy(sample: Sample, answer: Answer) -> float | None:
    """1 where the reply's decision (yes, no, maybe) is the right one; None for a question that has none."""
    right = sample.metadata["exact_answer"]
    return float(answer.metadata.get("exact_answer") == [right]) if right else None


def _from_hub(row: dict[str, Any]) -> Row:
    """Read the hub's layout: pubid, question, context {contexts, labels}, long_answer, final_decision."""
    pmid = str(row["pubid"])
    abstract = " ".join(row["context"]["contexts"])
    return Row(pmid, row["question"], row["long_answer"], row["final_decision"], f"pmid:{pmid}", abstract)
