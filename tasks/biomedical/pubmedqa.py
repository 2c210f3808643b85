"""Read PubMedQA: from the Hugging Face hub, from a file of the hub's layout, or from JSON Lines.

A JSON Lines folder holds ``questions.jsonl[.gz]`` (id, question, long_answer, decision, gold_doc_ids) and
``docs.jsonl[.gz]`` (doc_id, text: the abstract without its conclusion). The abstracts in
folders beside it (``*/docs.jsonl[.gz]``, ``*/corpus.jsonl[.gz]``) join the pool as distractors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit import file_rows, hub_rows
from evalkit.data.hub import local_folder

from .pool import write_pool as write_documents

HUB = ("qiaojin/PubMedQA", "pqa_labeled", "train")
# Ids of these collections are plain numbers: a prefix separates them from PubMed's.
PREFIXES = {"scifact": "s2:"}


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
    for row in file_rows(home, "questions", "id", "question", "long_answer", "decision", "gold_doc_ids"):
        yield Row(row["id"], row["question"], row["long_answer"], row["decision"], row["gold_doc_ids"][0])


def documents(data: Path | None, pool: str) -> Iterator[dict[str, str]]:
    """Yield the abstracts to search: id, title, text.

    With ``pool="all"`` those in the folders beside the data's own join, wherever the command runs and however
    the path is written. What joined is said on stderr.
    """
    home = local_folder(data)
    if home is None:
        for row in questions(data):
            yield {"id": row.document, "title": "", "text": row.abstract or ""}
        return
    yield from _documents_in(home, "docs")
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


def _from_hub(row: dict[str, Any]) -> Row:
    """Read the hub's layout: pubid, question, context {contexts, labels}, long_answer, final_decision."""
    pmid = str(row["pubid"])
    abstract = " ".join(row["context"]["contexts"])
    return Row(pmid, row["question"], row["long_answer"], row["final_decision"], f"pmid:{pmid}", abstract)
