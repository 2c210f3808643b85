"""Read trial abstracts without their conclusions: JSON Lines, or PubMed-RCT from the hub.

A folder holds ``tasks.jsonl[.gz]`` (id, gold_doc_ids, title, reference) and ``docs.jsonl[.gz]`` (doc_id,
title, text without the conclusion). PubMed-RCT has a row for each sentence and no titles: the objective
replaces the title. Abstracts without objective or conclusions are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from evalkit import Sample, file_rows, hub_rows
from evalkit.data.files import folder_of
from evalkit.data.hub import local_folder

HUB = "armanc/pubmed-rct20k"


def trials(data: Path | None = None, split: str = "test") -> Iterator[Sample]:
    """Yield a sample for each conclusion; its input is the title."""
    home = local_folder(data)
    if home is None:
        for name, parts in _abstracts(data, split):
            if "objective" in parts and "conclusions" in parts:
                yield Sample(name, parts["objective"], parts["conclusions"], relevance={f"pmid:{name}": 1})
        return
    for row in file_rows(home, "tasks", "id", "gold_doc_ids", "title", "reference"):
        yield Sample(
            row["id"], row["title"], row["reference"], relevance=dict.fromkeys(row["gold_doc_ids"], 1)
        )


def documents(data: Path | None, split: str = "test") -> Iterator[dict[str, str]]:
    """Yield the abstracts without their conclusions."""
    home = local_folder(data)
    if home is None:
        for name, parts in _abstracts(data, split):
            text = " ".join(part for label, part in parts.items() if label != "conclusions")
            yield {"id": f"pmid:{name}", "title": "", "text": text}
        return
    for row in file_rows(folder_of(home), "docs", "doc_id", "title", "text"):
        yield {"id": row["doc_id"], "title": row["title"], "text": row["text"]}


def _abstracts(file: Path | None, split: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the PMID of each abstract in a split of PubMed-RCT, and its text by label in text order."""
    rows = hub_rows(HUB, None, split, file, fields=("abstract_id", "label", "text"))
    for name, sentences in groupby(rows, key=lambda row: str(row["abstract_id"]).strip("#")):
        parts: dict[str, list[str]] = {}
        for row in sentences:
            parts.setdefault(row["label"].lower(), []).append(row["text"])
        yield name, {label: " ".join(texts) for label, texts in parts.items()}
