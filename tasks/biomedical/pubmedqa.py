"""Reading PubMedQA: from the Hugging Face hub, from a file of the hub's layout, or from JSON Lines.

A JSON Lines folder holds ``questions.jsonl[.gz]`` (id, question, long_answer, decision, gold_doc_ids) and
``docs.jsonl[.gz]`` (doc_id, text: the abstract without its conclusion). Folders beside it with abstracts of
their own (``*/docs.jsonl[.gz]``, ``*/corpus.jsonl[.gz]``) join the pool as distractors.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from evalkit import CorpusError, UsageError, hub_rows

from .pool import write_pool as write_documents

HUB = ("qiaojin/PubMedQA", "pqa_labeled", "train")
# Ids of these collections are bare numbers: a prefix keeps them apart from PubMed's.
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
    """The questions. Raises ``UsageError`` where there is no such data, ``CorpusError`` for a broken line."""
    if data is None or data.suffix == ".parquet":
        yield from (_from_hub(row) for row in hub_rows(*HUB, file=data))
        return
    for where, row in _lines(_file(_folder(data), "questions")):
        try:
            yield Row(row["id"], row["question"], row["long_answer"], row["decision"], row["gold_doc_ids"][0])
        except (KeyError, IndexError) as error:
            raise CorpusError(f"{where}: a PubMedQA question needs {error}") from None


def documents(data: Path | None, pool: str) -> Iterator[dict[str, str]]:
    """The abstracts to search: id, title, text."""
    if data is None or data.suffix == ".parquet":
        for row in questions(data):
            yield {"id": row.document, "title": "", "text": row.abstract or ""}
        return
    home = _folder(data)
    yield from _documents_in(_file(home, "docs"), "")
    if pool == "own":
        return
    for folder in sorted(p for p in home.parent.iterdir() if p.is_dir() and p != home):
        for name in ("docs", "corpus"):
            for path in sorted(folder.glob(f"{name}.jsonl*")):
                yield from _documents_in(path, PREFIXES.get(folder.name, ""))


def write_pool(data: Path | None, pool: str, home: Path) -> Path:
    """The pool as one JSONL file under ``home``."""
    return write_documents(documents(data, pool), home, "pubmed-pool")


def _documents_in(path: Path, prefix: str) -> Iterator[dict[str, str]]:
    for where, row in _lines(path):
        try:
            yield {"id": prefix + row["doc_id"], "title": row.get("title", ""), "text": row["text"]}
        except KeyError as error:
            raise CorpusError(f"{where}: a document needs {error}") from None


def _folder(data: Path) -> Path:
    if not data.exists():
        raise UsageError(f"-p data={data}: no such file or folder")
    return data if data.is_dir() else data.parent


def _file(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if path.exists():
            return path
    raise UsageError(f"-p data={folder}: there is no {name}.jsonl or {name}.jsonl.gz in it")


def _lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield f"{path}:{number}", msgspec.json.decode(line, type=dict)
            except msgspec.MsgspecError as error:
                raise CorpusError(f"{path}:{number}: not a JSON object: {error}") from None


def _from_hub(row: dict[str, Any]) -> Row:
    """A row of the hub's layout: pubid, question, context {contexts, labels}, long_answer, final_decision."""
    pmid = str(row["pubid"])
    abstract = " ".join(row["context"]["contexts"])
    return Row(pmid, row["question"], row["long_answer"], row["final_decision"], f"pmid:{pmid}", abstract)
