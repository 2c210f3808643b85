"""Reproduce MTEB's SciFact figure for all-MiniLM-L6-v2: nDCG@10 0.64508.

Run it with ``python benchmarks/scifact_dense.py DATA [torch|openvino]``, DATA being a folder with
``scifact/``. It embeds all 5,183 abstracts (some minutes; interrupted, it goes on from there), searches 300
queries exactly, has trec_eval judge, and exits with 1 unless the figure comes out within 0.002.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import tempfile
from pathlib import Path

import pytrec_eval
from evalkit_retrievers.faiss_index import FaissRetriever

from evalkit import progress

PUBLISHED, TOLERANCE = 0.64508, 0.002


async def rank(folder: Path, directory: Path, backend: str) -> dict[str, dict[str, float]]:
    """The ten best documents of every query."""
    lines = (folder / "queries.test.jsonl").read_text(encoding="utf-8").splitlines()
    queries = {row["query_id"]: row["text"] for row in map(json.loads, lines)}
    retriever = FaissRetriever(
        folder / "corpus.jsonl.gz", directory, progress=progress.for_stream(), backend=backend
    )
    try:
        found = await asyncio.gather(*(retriever.search(text, 10) for text in queries.values()))
    finally:
        await retriever.close()
    return {id: {p.document: p.score for p in ps} for id, ps in zip(queries, found, strict=True)}


def judgements(folder: Path) -> dict[str, dict[str, int]]:
    """Relevance by query and document."""
    qrels: dict[str, dict[str, int]] = {}
    with (folder / "qrels.test.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels.setdefault(row["query_id"], {})[row["doc_id"]] = int(row["score"])
    return qrels


def main() -> int:
    """Print the figure; 0 if it agrees with the published one."""
    if len(sys.argv) not in (2, 3):
        print("usage: python benchmarks/scifact_dense.py DATA [torch|openvino]", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1]) / "scifact"
    with tempfile.TemporaryDirectory() as directory:
        run = asyncio.run(rank(folder, Path(directory), *(sys.argv[2:] or ["auto"])))
    judged = pytrec_eval.RelevanceEvaluator(judgements(folder), {"ndcg_cut.10"}).evaluate(run)
    figure = sum(q["ndcg_cut_10"] for q in judged.values()) / len(judged)
    agrees = abs(figure - PUBLISHED) <= TOLERANCE
    print(f"SciFact nDCG@10: {figure:.5f} (published {PUBLISHED}) {'agrees' if agrees else 'DIFFERS'}")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
