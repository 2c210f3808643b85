"""Published retrieval figures on BEIR's SciFact, judged by trec_eval."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

import pytest
import pytrec_eval
from evalkit_retrievers.index.bm25 import BM25Retriever

from evalkit.util.progress import Silent


async def test_bm25_gives_the_published_figures(data: Path, tmp_path: Path) -> None:
    """Anserini, Lucene BM25 flat (k1 0.9, b 0.4): nDCG@10 0.6789, recall@100 0.9253."""
    folder = data / "scifact"
    lines = (folder / "queries.test.jsonl").read_text(encoding="utf-8").splitlines()
    queries = {row["query_id"]: row["text"] for row in map(json.loads, lines)}
    qrels: dict[str, dict[str, int]] = {}
    with (folder / "qrels.test.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            qrels.setdefault(row["query_id"], {})[row["doc_id"]] = int(row["score"])

    retriever = BM25Retriever(folder / "corpus.jsonl.gz", tmp_path / "index", progress=Silent())
    found = await asyncio.gather(*(retriever.search(text, 100) for text in queries.values()))
    await retriever.close()
    run = {id: {p.document: p.score for p in ps} for id, ps in zip(queries, found, strict=True)}

    judged = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100"}).evaluate(run)
    assert len(judged) == 300
    mean = {m: sum(q[m] for q in judged.values()) / 300 for m in ("ndcg_cut_10", "recall_100")}
    assert mean["ndcg_cut_10"] == pytest.approx(0.679, abs=0.01)
    assert mean["recall_100"] == pytest.approx(0.9253, abs=0.01)
