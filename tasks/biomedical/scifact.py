"""Read SciFact: claims, abstracts by sentence, verdicts in replies; and SciFact's own F1 scores.

A folder holds the claims, ``claims_dev.jsonl`` as published or ``claims.dev.jsonl[.gz]`` (claim_id, claim,
cited_doc_ids, evidence), and ``corpus.jsonl[.gz]`` (doc_id, title, abstract or sentences). The hub has a row
for each claim and evidence document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from evalkit import Answer, Metric, Sample, file_rows, hub_rows
from evalkit.data.files import folder_of, split_rows
from evalkit.data.hub import PARQUET, local_folder
from evalkit.reading.fold import fold
from evalkit.reading.negation import denied

HUB = "allenai/scifact"
LABELS = ("SUPPORT", "CONTRADICT", "NOT ENOUGH INFO")
LEVELS = ("abstract_label", "abstract_rationale", "sentence_selection", "sentence_label")
_LONGEST_RANGE = 50  # sentences
SHOWN = 3  # sentences of a reply that SciFact counts for an abstract

# By document: gold label and rationales; label and sentences of a reply. Sentences count from 0.
Evidence = dict[str, tuple[str, list[list[int]]]]
Verdicts = dict[str, tuple[str, list[int]]]

_LINE = re.compile(
    r"^\W{0,4}(\d{1,3})\W{1,4}(SUPPORT|CONTRADICT)\w{0,5}\b"
    r"((?:[^a-zA-Z\n]|and\b|or\b(?=\s*\d)|sentences?\b){0,80})([^\n]{0,200})",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCES = re.compile(r"(\d{1,4})(?:\s?-\s?(\d{1,4}))?")
_LABEL = re.compile("SUPPORT|CONTRADICT", re.IGNORECASE)
_BASE = 1 << 16


class Abstract(Struct, frozen=True):
    """An abstract, sentence by sentence."""

    title: str
    sentences: tuple[str, ...]

    def shown(self, number: int) -> str:
        """Return the prompt's line of an abstract: ``[2] Title. (1) First sentence. (2) Second.``"""
        sentences = " ".join(f"({n}) {sentence.strip()}" for n, sentence in enumerate(self.sentences, 1))
        return " ".join(f"[{number}] {self.title.rstrip('.')}. {sentences}".split())


def abstracts(data: Path | None) -> dict[str, Abstract]:
    """Return all abstracts by id."""
    home = local_folder(data)
    if home is None:
        rows = hub_rows(HUB, "corpus", "train", revision=PARQUET, fields=("doc_id", "title", "abstract"))
        return {str(r["doc_id"]): Abstract(r["title"], tuple(r["abstract"])) for r in rows}
    columns = {"abstract": "sentences"}
    rows = file_rows(folder_of(home), "corpus", "doc_id", "title", "sentences", columns=columns)
    return {str(row["doc_id"]): Abstract(row["title"], tuple(row["sentences"])) for row in rows}


def claims(data: Path | None = None, split: str = "dev") -> Iterator[Sample]:
    """Yield the claims of a split. Cited documents are relevant, with evidence or without.

    The published test split has no evidence: it cannot be scored.
    """
    home = local_folder(data)
    if home is not None:
        fields = ("claim_id", "claim", "cited_doc_ids", "evidence")
        names = ("claims.{}", "claims_{}")
        for row in split_rows(home, split, *fields, names=names, columns={"id": "claim_id"}):
            evidence = {
                document: (sets[0]["label"], [rationale["sentences"] for rationale in sets])
                for document, sets in row["evidence"].items()
            }
            yield _sample(str(row["claim_id"]), row["claim"], [*map(str, row["cited_doc_ids"])], evidence)
        return
    by_claim: dict[str, tuple[str, list[str], Evidence]] = {}
    fields = ("id", "claim", "evidence_doc_id", "evidence_label", "evidence_sentences", "cited_doc_ids")
    name = "validation" if split == "dev" else split
    for row in hub_rows(HUB, "claims", name, data, revision=PARQUET, fields=fields):
        cited = [str(name) for name in row["cited_doc_ids"]]
        _, _, sets = by_claim.setdefault(str(row["id"]), (row["claim"], cited, {}))
        if row["evidence_label"]:
            _, rationales = sets.setdefault(row["evidence_doc_id"], (row["evidence_label"], []))
            rationales.append(list(row["evidence_sentences"]))
    yield from (_sample(name, *fields) for name, fields in by_claim.items())


def _sample(name: str, claim: str, cited: Sequence[str], evidence: Evidence) -> Sample:
    label = next((label for label, _ in evidence.values()), LABELS[2])
    return Sample(
        name,
        claim,
        label,
        relevance=dict.fromkeys(cited, 1),
        choices=LABELS,
        slices={"label": label},
        metadata={"evidence": evidence},
    )


def written(evidence: Evidence, documents: Sequence[str]) -> str:
    """Return the perfect reply to a prompt with these documents: the evidence that they contain."""
    lines = []
    for number, document in enumerate(documents, 1):
        if document in evidence:
            label, rationales = evidence[document]
            sentences = sorted({n + 1 for rationale in rationales for n in rationale})
            lines.append(f"[{number}] {label}: {', '.join(map(str, sentences))}")
    return "\n".join(lines) or LABELS[2]


def read(reply: str, documents: Sequence[str]) -> tuple[str | None, Verdicts]:
    """Return the label that a reply gives the claim, or None, and its verdict on each document.

    The most frequent label of the verdicts counts; of equally frequent ones, the first. A line that denies
    its label or names both is no verdict.
    """
    reply = fold(reply)
    verdicts: Verdicts = {}
    for line in _LINE.finditer(reply):
        number, label = int(line[1]), line[2].upper()
        others = {other.upper() for other in _LABEL.findall(line[4])} - {label}
        if 1 <= number <= len(documents) and not others and not denied(reply, *line.span(2)):
            verdicts.setdefault(documents[number - 1], (label, _sentences(line[3])))
    labels = [label for label, _ in verdicts.values()]
    if labels:
        return max(labels, key=labels.count), verdicts
    place = reply.lower().find(LABELS[2].lower())
    said = place >= 0 and not denied(reply, place, place + len(LABELS[2]))
    return (LABELS[2] if said else None), verdicts


def _sentences(listed: str) -> list[int]:
    """Return the sentences of a list (``2, 4-6``), counted from 0."""
    ends = [(int(first), int(last or first)) for first, last in _SENTENCES.findall(listed)]
    return [n - 1 for first, last in ends for n in range(first, min(last, first + _LONGEST_RANGE) + 1)]


def scifact_f1(level: str) -> Metric:
    """SciFact's F1 over all claims together: ``abstract_label_f1``, ``abstract_rationale_f1``,
    ``sentence_selection_f1`` or ``sentence_label_f1``.

    An abstract is right if it is evidence and has the gold label; for ``rationale``, the first three
    sentences named must also contain a complete gold rationale. A sentence is right if it is part of a gold
    rationale that the reply names completely; for ``label``, its abstract must also have the gold label.
    Source: Wadden et al. 2020 (section 4) and SciFact's evaluation script.
    """
    return Metric(
        f"{level}_f1",
        partial(_counts, _COUNTS[level]),
        aggregate=_f1,
        help=f"SciFact, {level}: F1 over claims",
        version=2,
    )


def _counts(count: Any, sample: Sample, answer: Answer) -> float:
    """Return the numbers of right, given and gold items of a claim as one number; F1 sums each of them."""
    evidence = sample.metadata["evidence"]
    verdicts = {} if answer.failed else answer.metadata["verdicts"]
    right, given, gold = count(evidence, verdicts)
    return float((right * _BASE + given) * _BASE + gold)


def _f1(values: Sequence[float]) -> float:
    triples = [(int(v) // _BASE**2, int(v) // _BASE % _BASE, int(v) % _BASE) for v in values]
    right, given, gold = (sum(column) for column in zip(*triples, strict=True))
    return 2 * right / (given + gold) if right else 0.0


def _of_abstracts(with_rationale: bool, evidence: Evidence, verdicts: Verdicts) -> tuple[int, int, int]:
    right = 0
    for document, (label, sentences) in verdicts.items():
        gold, rationales = evidence.get(document, ("", []))
        complete = any(set(rationale) <= set(sentences[:SHOWN]) for rationale in rationales)
        right += label == gold and (complete or not with_rationale)
    return right, len(verdicts), len(evidence)


def _of_sentences(labelled: bool, evidence: Evidence, verdicts: Verdicts) -> tuple[int, int, int]:
    right = 0
    for document, (label, sentences) in verdicts.items():
        gold, rationales = evidence.get(document, ("", []))
        complete = [rationale for rationale in rationales if set(rationale) <= set(sentences)]
        if label == gold or not labelled:
            right += len({n for rationale in complete for n in rationale})
    given = sum(len(set(sentences)) for _, sentences in verdicts.values())
    wanted = sum(
        len({n for rationale in rationales for n in rationale}) for _, rationales in evidence.values()
    )
    return right, given, wanted


_COUNTS = {
    "abstract_label": partial(_of_abstracts, False),
    "abstract_rationale": partial(_of_abstracts, True),
    "sentence_selection": partial(_of_sentences, False),
    "sentence_label": partial(_of_sentences, True),
}
