"""Read BioASQ: a golden file of the challenge, its content as JSON Lines, or the hub's small edition.

A folder holds ``questions.jsonl[.gz]`` (id, type, question, ideal_answers, exact_answer, gold_doc_ids,
gold_passage_ids) and ``passages.jsonl[.gz]`` (passage_id, doc_id, text), the snippets that experts marked.
The hub's edition has whole abstracts, one ideal answer, and neither types nor exact answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from evalkit import Answer, Metric, Sample, Status, UsageError, file_rows, hub_rows, only
from evalkit.data.files import folder_of
from evalkit.data.hub import local_folder
from evalkit.metrics import (
    closed_accuracy,
    copy_rate,
    factoid,
    length,
    list_answer,
    macro_f1,
    mrr,
    recall,
    rouge,
    where_answerable,
)
from evalkit.metrics.retrieval import precision_at
from evalkit.reading.answers import read_yes_no
from evalkit.reading.fold import fold
from evalkit.reading.marks import without_marks
from evalkit.reading.markup import plain, tagged

from . import golden
from .measures import ABSTAINING, BIOGEN, CITED, CLAIMS
from .snippets import EPSILON, bioasq_snippets, geometric_mean, span

HUB = "enelpol/rag-mini-bioasq"

Unit = Literal["snippets", "documents"]
ExactArm = Literal["closed_book", "retrieved", "oracle"]

_QUESTION = ("id", "type", "question", "ideal_answers", "exact_answer", "gold_doc_ids", "gold_passage_ids")
_FIELDS = {"questions": _QUESTION, "passages": ("passage_id", "doc_id", "text")}
_PLACE = ("section", "offset")  # of a snippet in its document, if known
_BULLET = re.compile(r"^\s*(?:[-*•·–]\s+|\(?\d{1,2}[.)]\s+|\(?[a-z]\)\s+|[①-⑳]\s*)")
_SAID_FIRST = re.compile(
    r"^(?:the |my )?(?:final |exact |short )?answers?(?:\s*:| is:?| are:?)\s+", re.IGNORECASE
)
_BOLD_TERM = re.compile(r"^\*\*([^*]+)\*\*\s*(?:[:–—-]\s.*)?$")  # "**BRCA1** – a tumour suppressor"
_OTHER_MARKS = re.compile(
    r"(?:[⁰¹²³⁴-⁹]+|\s\(\d{1,2}\))$"
)  # citations that cannot be told from text elsewhere
_AROUND = " \t.;,\"'|"


def pool(data: Path | None, unit: Unit) -> Iterator[dict[str, Any]]:
    """Yield the documents to search, in the file's order: snippets, or all snippets of an abstract as one."""
    home = local_folder(data)
    if home is None:
        for row in hub_rows(HUB, "text-corpus", "test", fields=("id", "passage")):
            yield {"id": str(row["id"]), "text": row["passage"]}
        return
    documents: dict[str, list[str]] = {}
    for row in _rows(home, "passages"):
        if unit == "snippets":
            position = {name: row[name] for name in _PLACE if row.get(name) is not None}
            yield {"id": row["passage_id"], "text": row["text"], **position}
        documents.setdefault(row["doc_id"], []).append(row["text"])
    if unit == "documents":
        yield from ({"id": name, "text": " ".join(texts)} for name, texts in documents.items())


def questions(data: Path | None = None, unit: Unit = "snippets") -> Iterator[Sample]:
    """Yield the questions with their ideal answers. Gold abstracts without any snippet are left out.

    ``data`` may be a Parquet file of the hub's questions.
    """
    home = local_folder(data)
    if home is None:
        fields = ("id", "question", "answer", "relevant_passage_ids")
        for row in hub_rows(HUB, "question-answer-passages", "test", data, fields=fields):
            yield _from_hub(row)
        return
    passages = {row["passage_id"]: row for row in _rows(home, "passages")}
    documents = {row["doc_id"] for row in passages.values()}
    for row in _rows(home, "questions"):
        gold = row["gold_passage_ids"]
        if unit == "documents":
            gold = [name for name in row["gold_doc_ids"] if name in documents]
        marked = [span(name, passages[name]["text"], passages[name]) for name in gold if name in passages]
        yield Sample(
            row["id"],
            row["question"],
            tuple(row["ideal_answers"]),
            relevance=dict.fromkeys(gold, 1),
            slices={"type": row["type"]},
            metadata={"exact_answer": _exact(row["exact_answer"]), "snippets": [*filter(None, marked)]},
        )


def exact_questions(data: Path | None = None, unit: Unit = "snippets") -> Iterator[Sample]:
    """Yield the questions with an exact answer as their target: a word, or one name per line."""
    if local_folder(data) is None:
        raise UsageError(f"{HUB} has no exact answers: give the challenge's own by -p data=FOLDER")
    for sample in questions(data, unit):
        exact = sample.metadata["exact_answer"]
        if exact is not None:
            target = exact if isinstance(exact, str) else "\n".join(names[0] for names in exact)
            yield replace(sample, target=target)


def read_exact(sample: Sample, answer: Answer) -> Answer:
    """Return the answer with the names in its reply; unparsed where a reply says neither yes nor no."""
    if sample.slices["type"] != "yesno":
        return _with(answer, read_names(answer.reply))
    reply = read_yes_no(answer.reply, sample.input)
    return _with(replace(answer, status=None if reply else Status.UNPARSED), [reply] if reply else [])


def _with(answer: Answer, names: list[str]) -> Answer:
    return replace(answer, metadata={**answer.metadata, "exact_answer": names})


def read_names(reply: str) -> list[str]:
    """Return the names in a reply, one per line (version 2).

    Bullets and numbers in front, markup, citation marks, a final stop and quotes around a name are taken off;
    a bold name stands for its line. Headings (``Genes:``, ``## Genes``) are left out.
    """
    lines = [line.strip() for line in tagged(fold(reply)).splitlines() if line.strip()]
    if len(lines) > 1:
        lines = [line for line in lines if not line.startswith("#") and not line.rstrip("* ").endswith(":")]
    return [name for name in map(_name, lines) if name]


def _name(line: str) -> str:
    """Return the name on a line."""
    line = _SAID_FIRST.sub("", _BULLET.sub("", line))
    if term := _BOLD_TERM.match(without_marks(line)):
        line = term[1]
    name = _SAID_FIRST.sub("", _BULLET.sub("", without_marks(plain(line)))).strip(_AROUND)
    return _OTHER_MARKS.sub("", name)


def _rows(home: Path, name: str) -> Iterator[dict[str, Any]]:
    if home.suffix == ".json":
        return golden.rows(home, name)
    return file_rows(home if name == "questions" else folder_of(home), name, *_FIELDS[name])


def _exact(exact: str | list[list[str]] | None) -> str | list[list[str]] | None:
    """Return names as replies are read: a few names of the challenge have a number or marks around."""
    if exact is None or isinstance(exact, str):
        return exact
    return [
        [name for names in entity for line in names.splitlines() if (name := _name(line))] for entity in exact
    ]


def _from_hub(row: dict[str, Any]) -> Sample:
    """Return a row as a sample. The ids of passages are a list, or a list in JSON."""
    ids = row["relevant_passage_ids"]
    gold = json.loads(ids) if isinstance(ids, str) else ids
    return Sample(str(row["id"]), row["question"], row["answer"], relevance={str(name): 1 for name in gold})


def bioasq_ap() -> Metric:
    """``bioasq_ap``: the precision at each relevant hit of the first ten, summed, over min(10, relevant).

    Source: BioASQ's Evaluation-Measures (Balikas et al. 2013), as changed for task 8b.
    """
    return Metric("bioasq_ap", _ap, kind="retrieval", help="average precision of the first ten (BioASQ)")


def bioasq_gmap() -> Metric:
    """``bioasq_gmap``: the geometric mean over questions of ``bioasq_ap`` + 0.00001."""
    return Metric(
        "bioasq_gmap",
        _ap,
        kind="retrieval",
        high=1 + EPSILON,
        aggregate=geometric_mean,
        help="geometric mean of bioasq_ap (BioASQ)",
    )


def _ap(sample: Sample, answer: Answer) -> float | None:
    if answer.ranked is None or not sample.relevance:
        return None
    ranking = list(dict.fromkeys(answer.ranked))[:10]
    hits = [rank for rank, name in enumerate(ranking, 1) if name in sample.relevance]
    total = sum(precision_at(ranking, sample.relevance, rank) for rank in hits)
    return total / min(10, len(sample.relevance))


AP = (bioasq_ap(), bioasq_gmap())
IDEAL = (
    *where_answerable(rouge("rouge2", stat="recall"), rouge("rouge2")),
    *where_answerable(rouge("rougeSU4", stat="recall"), rouge("rougeSU4"), rouge("rouge1"), rouge("rougeL")),
    recall(10),
    mrr(),
    *AP,
    *map(bioasq_snippets, ("precision", "recall", "f1", "ap", "gmap")),
    *CITED,
    *BIOGEN,
    *ABSTAINING,
    copy_rate(),
    length(),
    *where_answerable(*CLAIMS),
)
EXACT = (
    only(closed_accuracy(), "yesno_accuracy", type="yesno"),
    macro_f1(),
    *(only(metric, metric.name, type="factoid") for metric in map(factoid, ("strict", "lenient", "mrr"))),
    *(only(metric, metric.name, type="list") for metric in map(list_answer, ("precision", "recall", "f"))),
    recall(10),
    mrr(),
    *AP,
)
