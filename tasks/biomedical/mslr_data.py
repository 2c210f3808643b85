"""Read MSLR: systematic reviews of MS² or Cochrane, with the abstracts of their studies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from evalkit import Sample
from evalkit.data.hub import PARQUET, rows_of

Subset = Literal["ms2", "cochrane"]


def reviews(data: Path | None = None, subset: Subset = "ms2", split: str = "validation") -> Iterator[Sample]:
    """Yield a sample for each review; its input is the background, which Cochrane reviews lack."""
    for row in _rows(data, subset, split):
        included = dict.fromkeys(row["pmid"], 1)
        yield Sample(row["review_id"], row.get("background") or "", row["target"], relevance=included)


def studies(data: Path | None, subset: Subset, split: str) -> Iterable[Mapping[str, str]]:
    """Return the abstracts of all studies of all reviews, each once."""
    by_pmid = {
        pmid: {"id": pmid, "title": title, "text": abstract}
        for row in _rows(data, subset, split)
        for pmid, title, abstract in zip(row["pmid"], row["title"], row["abstract"], strict=True)
    }
    return by_pmid.values()


def _rows(data: Path | None, subset: Subset, split: str) -> Iterator[dict[str, Any]]:
    fields = ("review_id", "pmid", "title", "abstract", "target")
    return rows_of(data, "allenai/mslr2022", subset, split, fields, revision=PARQUET)
