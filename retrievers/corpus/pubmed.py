"""Reads PubMed's XML, as NLM distributes it: baseline and update files, record by record.

A file is a ``PubmedArticleSet`` of about ten thousand records, plain or gzipped. Update files, read in the
order of their names, bring new versions of records and deletions: the last entry of a PMID counts.
Source of the element names: NLM's DTD, dtd.nlm.nih.gov/ncbi/pubmed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from evalkit.data.bounded import BoundedStream, guarded, open_file
from evalkit.errors import CorpusError

from .markup import text_of

ROOT = "PubmedArticleSet"
UNTITLED = "[Not Available]."  # NLM's own text for a record without a title
_RETRACTED = "D016441"  # the publication type "Retracted Publication"
_DEEPEST = 200  # elements inside each other; NLM's formulas have some twenty
_YEAR = re.compile(r"\d{4}")

Row = dict[str, Any]


class Deleted(msgspec.Struct, frozen=True):
    """A record that NLM has withdrawn."""

    pmid: str


def current(files: Sequence[Path], home: Path) -> Iterator[tuple[str, Row]]:
    """Yield the records that no later file replaces or deletes, each with its PMID for messages.

    Records pass through a temporary file in ``home``; memory holds only PMIDs.
    """
    newest: dict[str, tuple[int, int]] = {}  # version and number of the record that counts
    number = 0
    with tempfile.TemporaryFile(dir=home) as spool:
        for file in files:
            for record in read(file):
                if isinstance(record, Deleted):
                    newest.pop(record.pmid, None)
                    continue
                pmid, version = record["id"], record.pop("version")
                if version >= newest.get(pmid, (0, 0))[0]:
                    newest[pmid] = (version, number)
                spool.write(msgspec.json.encode(record) + b"\n")
                number += 1
        spool.seek(0)
        for number, line in enumerate(spool):
            row: Row = msgspec.json.decode(line)
            if newest.get(row["id"], (0, -1))[1] == number:
                yield f"PMID {row['id']}", row


def read(file: Path) -> Iterator[Row | Deleted]:
    """Yield the records and deletions of one file, in order, one in memory at a time.

    A record has ``id`` (the PMID), ``version``, ``title``, ``text`` (the abstract), and if there are any:
    ``sections`` ([label, text] of a structured abstract), ``mesh``, ``year``, ``types``, ``retracted``,
    ``retracted_by`` (PMIDs) and ``corrections`` ([kind, PMID]). Raises ``CorpusError`` with file and line.
    """
    root: ElementTree.Element | None = None
    depth = 0
    try:
        with guarded(file), open_file(file) as plain:
            stream = BoundedStream(plain, file)
            # expat refuses exponential entities since 2.4.1, and never reads external ones
            for event, element in ElementTree.iterparse(stream, ("start", "end")):  # noqa: S314
                if root is None:
                    root = element
                    if root.tag != ROOT:
                        raise CorpusError(f"{file}: no PubMed XML: it begins with <{root.tag}>, not <{ROOT}>")
                depth += 1 if event == "start" else -1
                if depth > _DEEPEST:
                    raise CorpusError(f"{file}: no PubMed XML: elements stand in each other {depth} deep")
                if event == "start":
                    continue
                if element.tag in ("PubmedArticle", "PubmedBookArticle"):
                    yield _record(element, file)
                    root.clear()
                    stream.new_record()
                elif element.tag == "DeleteCitation":
                    yield from [Deleted(text) for pmid in element.iter("PMID") if (text := text_of(pmid))]
    except ElementTree.ParseError as error:
        raise CorpusError(f"{file}:{error.position[0]}: broken XML: {error}") from None


def _record(article: ElementTree.Element, file: Path) -> Row:
    citation = article.find("MedlineCitation")
    if citation is None:
        citation = article.find("BookDocument")
    pmid = None if citation is None else citation.find("PMID")
    if citation is None or pmid is None or not text_of(pmid):
        raise CorpusError(f"{file}: a <{article.tag}> without a PMID")
    sections = _sections(citation)
    title = text_of(citation.find(".//ArticleTitle")) or text_of(citation.find(".//VernacularTitle"))
    row: Row = {
        "id": text_of(pmid),
        "version": int(pmid.get("Version", "1")),
        "title": title or UNTITLED,
        "text": " ".join(text for _, text in sections),
    }
    facts = {
        "sections": sections if any(label for label, _ in sections) else None,
        "mesh": [text_of(name) for name in citation.iterfind("MeshHeadingList/MeshHeading/DescriptorName")],
        "year": _year(article),
        "types": [text_of(kind) for kind in citation.iterfind(".//PublicationType")],
        **_corrections(citation),
    }
    return row | {name: value for name, value in facts.items() if value}


def _sections(citation: ElementTree.Element) -> list[list[str]]:
    """Return label (or "") and text of each part of the English abstract."""
    parts = citation.iterfind(".//Abstract/AbstractText")
    return [[part.get("Label") or "", text] for part in parts if (text := text_of(part))]


def _year(article: ElementTree.Element) -> int | None:
    """Return the year of the journal's issue; else of the electronic article; else of the entry in PubMed."""
    for path in (
        ".//PubDate/Year",
        ".//PubDate/MedlineDate",  # "1998 Dec-1999 Jan"
        ".//ArticleDate/Year",
        ".//PubMedPubDate[@PubStatus='pubmed']/Year",
    ):
        if year := _YEAR.search(text_of(article.find(path))):
            return int(year[0])
    return None


def _corrections(citation: ElementTree.Element) -> Row:
    """Return later retractions and corrections of the article, without its reference list ("Cites")."""
    entries = [
        (entry.get("RefType", ""), text_of(entry.find("PMID")))
        for entry in citation.iterfind("CommentsCorrectionsList/CommentsCorrections")
    ]
    by = [pmid for kind, pmid in entries if kind == "RetractionIn"]
    kinds = {kind.get("UI") for kind in citation.iterfind(".//PublicationType")}
    return {
        "retracted": bool(by) or _RETRACTED in kinds,
        "retracted_by": [pmid for pmid in by if pmid],
        "corrections": [[kind, pmid] for kind, pmid in entries if kind != "Cites"],
    }
