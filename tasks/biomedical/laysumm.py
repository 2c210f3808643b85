"""Read BioLaySumm: articles by section with lay summaries, from the hub or files of its layout.

A row has ``article`` (one section per line, the abstract first), ``section_headings`` (one per line),
``title``, ``year``, ``keywords`` and ``summary``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from evalkit import Passage, Retriever, Sample
from evalkit.data.hub import rows_of

Journal = Literal["PLOS", "eLife"]


def articles(
    data: Path | None, journal: Journal, split: str
) -> Iterator[tuple[Sample, list[tuple[str, str]]]]:
    """Yield each article's sample, with the abstract as input, and its other sections: heading and text."""
    fields = ("article", "section_headings", "title", "summary")
    rows = rows_of(data, f"BioLaySumm/BioLaySumm2025-{journal}", None, split, fields)
    for number, row in enumerate(rows):
        texts, headings = row["article"].split("\n"), row["section_headings"].split("\n")
        headings += [""] * (len(texts) - len(headings))
        sections = [(h.strip(), t.strip()) for h, t in zip(headings, texts, strict=False) if t.strip()]
        sample = Sample(
            f"{journal}-{split}-{number}",
            sections[0][1],
            row["summary"],
            slices={"journal": journal},
            metadata={"title": row["title"], "sections": len(sections) - 1},
        )
        yield sample, sections[1:]


def pool(data: Path | None, journal: Journal, split: str) -> Iterator[dict[str, str]]:
    """Yield the sections of all articles, without the abstracts."""
    for sample, sections in articles(data, journal, split):
        for name, (heading, text) in zip(names(sample), sections, strict=True):
            yield {"id": name, "title": heading, "text": text}


def names(sample: Sample) -> list[str]:
    """Return the ids of an article's sections in the pool, in the order of the text."""
    return [f"{sample.id}#{number}" for number in range(1, sample.metadata["sections"] + 1)]


async def own_passages(sample: Sample, retriever: Retriever, k: int) -> Sequence[Passage]:
    """Return the ``k`` passages of the sample's sections article that are nearest to its abstract."""
    sections, depth = set(names(sample)), 4 * k
    while True:
        hits = await retriever.search(sample.input, depth)
        kept = [passage for passage in hits if passage.document in sections]
        if len(kept) >= k or len(hits) < depth or {p.document for p in kept} == sections:
            return kept[:k]
        depth *= 4
