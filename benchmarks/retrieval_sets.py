"""BM25, embeddings and their fusion on every available retrieval set, beside published figures.

Run it with ``python -m benchmarks.retrieval_sets DATA [SET …] [--write]``. Each set is written as a folder in
BEIR's layout under ``--out`` and measured by ``evalkit retrieve``, so that each figure can be repeated by
hand. The exit code is 1 where a figure differs by more than 0.01 from its reference. 25,000 texts are
embedded once and stay in evalkit's cache.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.pages import write_part

SEARCHES = ("bm25", "faiss", "hybrid")
MEASURES = ("nDCG@10", "R@10", "R@100", "RR@10")
NAMES = {
    "ndcg_at_10": "nDCG@10",
    "recall_at_10": "R@10",
    "recall_at_100": "R@100",
    "mrr_at_10": "RR@10",
    "ndcg@10": "nDCG@10",
    "r@10": "R@10",
    "r@100": "R@100",
    "mrr@10": "RR@10",
}
TOLERANCE = 0.01

Figures = dict[str, float]
References = dict[str, Figures]
"""Published figures, by retriever and measure."""


class Bench(NamedTuple):
    """A folder in BEIR's layout, its title, and the published figures for it."""

    home: Path
    what: str
    references: References


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a compressed JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def write_beir(
    home: Path, documents: Mapping[str, str], queries: Mapping[str, str], qrels: Mapping[str, Sequence[str]]
) -> Path:
    """Write a benchmark in BEIR's layout, from texts by id and the relevant documents of each query."""
    (home / "qrels").mkdir(parents=True, exist_ok=True)
    for name, texts in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": id, "title": "", "text": text}) + "\n" for id, text in texts.items()]
        (home / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    with (home / "qrels" / "test.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["query-id", "corpus-id", "score"])
        writer.writerows((query, document, 1) for query, some in qrels.items() for document in some)
    return home


def scifact(data: Path, out: Path) -> Bench:
    """Return BEIR's SciFact, with the figures of Anserini (BM25) and MTEB (MiniLM)."""
    published = json.loads((data / "scifact" / "published.json").read_text())["rows"]
    by_system = {row["system"].partition(",")[0]: _named(row) for row in published}
    references = {
        "bm25": by_system["Lucene BM25 flat"],
        "faiss": by_system["sentence-transformers/all-MiniLM-L6-v2"],
    }
    return Bench(data / "scifact", "SciFact, 5,183 abstracts", references)


def pubmedqa(data: Path, out: Path) -> Bench:
    """Return PubMedQA: its questions; its abstracts, trials of PubMed Central and SciFact's abstracts."""
    documents = {row["doc_id"]: row["text"] for row in rows(data / "pubmedqa" / "docs.jsonl.gz")}
    for folder, name, prefix in (("rct_conclusions", "docs", ""), ("scifact", "corpus", "s2:")):
        for row in rows(data / folder / f"{name}.jsonl.gz"):
            documents[prefix + row["doc_id"]] = f"{row['title']} {row['text']}"
    questions = list(rows(data / "pubmedqa" / "questions.jsonl.gz"))
    home = write_beir(
        out / "pubmedqa",
        documents,
        {q["id"]: q["question"] for q in questions},
        {q["id"]: q["gold_doc_ids"] for q in questions},
    )
    return Bench(home, "PubMedQA, 9,659 abstracts", _reference(data, "BM25 question->gold abstract"))


def bioasq_passages(data: Path, out: Path) -> Bench:
    """Return BioASQ's questions with the snippets that experts marked."""
    texts = {row["passage_id"]: row["text"] for row in rows(data / "bioasq" / "passages.jsonl.gz")}
    home = _bioasq(data, out / "bioasq-passages", texts, "gold_passage_ids")
    return Bench(home, "BioASQ, 12,505 passages", _reference(data, "BM25 question->gold passages"))


def bioasq_documents(data: Path, out: Path) -> Bench:
    """Return BioASQ's questions with abstracts, each made of its snippets; others are left out."""
    texts: dict[str, str] = {}
    for row in rows(data / "bioasq" / "passages.jsonl.gz"):
        texts[row["doc_id"]] = f"{texts.get(row['doc_id'], '')} {row['text']}".strip()
    home = _bioasq(data, out / "bioasq-documents", texts, "gold_doc_ids")
    return Bench(home, "BioASQ, 7,808 abstracts", _reference(data, "BM25 question->gold documents"))


SETS: dict[str, Callable[[Path, Path], Bench]] = {
    "scifact": scifact,
    "pubmedqa": pubmedqa,
    "bioasq-passages": bioasq_passages,
    "bioasq-documents": bioasq_documents,
}


def _bioasq(data: Path, home: Path, texts: Mapping[str, str], gold: str) -> Path:
    questions = list(rows(data / "bioasq" / "questions.jsonl.gz"))
    known = {q["id"]: [name for name in dict.fromkeys(q[gold]) if name in texts] for q in questions}
    return write_beir(home, texts, {q["id"]: q["question"] for q in questions}, known)


def _reference(data: Path, what: str) -> References:
    found = json.loads((data / "reference_scores.json").read_text())
    return {"bm25": next(_named(row) for row in found if row["what"].startswith(what))}


def _named(row: Mapping[str, Any]) -> Figures:
    return {name: row[theirs] for theirs, name in NAMES.items() if theirs in row}


def measured(bench: Bench, searches: Sequence[str], store: Path) -> dict[str, Figures]:
    """Return the figures of ``evalkit retrieve``, by retriever and measure."""
    command = [sys.executable, "-m", "evalkit", "retrieve", str(bench.home), "--json", "--store", str(store)]
    command += [word for search in searches for word in ("--search", search)]
    command += [word for name in MEASURES for word in ("--measure", name)]
    made = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["runs"]
    return {run["model"]: {name: run["metrics"][name]["value"] for name in MEASURES} for run in made}


def compared(found: Mapping[str, Figures], references: References) -> tuple[list[list[str]], list[str]]:
    """Return a row for each retriever, the reference in brackets, and the figures that differ too much."""
    lines, differing = [], []
    for search, figures in found.items():
        given = references.get(search.partition("?backend=")[0], {})  # another way to the same figures
        lines.append([search, *(_cell(figures[name], given.get(name)) for name in MEASURES)])
        differing += [
            f"{search} {name}: {figures[name]:.4f}, reference {given[name]:.4f}"
            for name in MEASURES
            if name in given and abs(figures[name] - given[name]) > TOLERANCE
        ]
    return lines, differing


def _cell(value: float, reference: float | None) -> str:
    return f"{value:.3f}" if reference is None else f"{value:.3f} ({reference:.3f})"


def main() -> int:
    """Print the table (with ``--write``, put it into the page) and return 0 where all figures agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)} [default: all]")
    parser.add_argument(
        "--out", type=Path, default=Path(".evalkit", "retrieval-sets"), help="where sets and scores go"
    )
    parser.add_argument("--search", dest="searches", action="append", help="in place of bm25, faiss, hybrid")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"no set {min(unknown)}; there are {', '.join(SETS)}")
    head = ["set", "retriever", *MEASURES]
    table, wrong = [head, ["---"] * len(head)], []
    for name in options.sets or SETS:
        bench = SETS[name](options.data, options.out)
        found = measured(bench, options.searches or SEARCHES, options.out / "scores.db")
        lines, differing = compared(found, bench.references)
        table += [[bench.what, *line] for line in lines]
        wrong += [f"{name}: {one}" for one in differing]
    text = "\n".join("| " + " | ".join(line) + " |" for line in table)
    print(text)
    if options.write:
        write_part("retrieval sets", text)
    for one in wrong:
        print(f"DIFFERS {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
