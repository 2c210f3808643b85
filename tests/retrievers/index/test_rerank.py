"""Reranking and variety after the first search: equal to transformers' logits and to hand calculations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evalkit_retrievers.encoding.embedder import Embedder
from evalkit_retrievers.index.bm25 import BM25Retriever
from evalkit_retrievers.index.dense import FaissRetriever
from evalkit_retrievers.index.hybrid import HybridRetriever
from evalkit_retrievers.index.topk import blend, diversify, scaled
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

from evalkit.errors import SetupError, UsageError
from evalkit.rag.retrievers import open_retriever
from evalkit.util.progress import Silent
from tests.retrievers.encoding.test_recipes import make_bert

QUERY = "aspirin for patients with gout"


def make_reranker(folder: Path, labels: int) -> Path:
    """A cross-encoder with random weights."""
    make_bert(folder, 5)
    torch.manual_seed(labels)
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=labels)
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(write: Any, documents: list[dict[str, Any]]) -> Path:
    path: Path = write(documents)
    return path


async def found(made: Any, k: int = 6) -> list[tuple[str, float]]:
    passages = await made.search(QUERY, k)
    await made.close()
    return [(passage.id, passage.score) for passage in passages]


async def test_a_cross_encoder_orders_the_candidates_by_its_logits(corpus: Path, tmp_path: Path) -> None:
    folder = make_reranker(tmp_path / "model", 1)
    plain = BM25Retriever(corpus, tmp_path / "index", progress=Silent())
    candidates = await plain.search(QUERY, 12)
    await plain.close()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [f"{p.title} {p.text}" for p in candidates]
    pairs = tokenizer([QUERY] * 12, texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        logits = model(**pairs).logits[:, 0].tolist()
    expected = sorted(zip([p.id for p in candidates], logits, strict=True), key=lambda x: (-x[1], x[0]))[:6]
    made = BM25Retriever(corpus, tmp_path / "index", progress=Silent(), rerank=str(folder), depth=12)
    assert await found(made) == [(id, pytest.approx(score, abs=1e-4)) for id, score in expected]


async def test_what_reranks_is_described_and_the_index_is_shared(corpus: Path, tmp_path: Path) -> None:
    folder = make_reranker(tmp_path / "model", 1)
    plain = open_retriever("bm25", corpus, tmp_path, progress=Silent())
    made = open_retriever(f"bm25?rerank={folder}&depth=5", corpus, tmp_path, progress=Silent())
    assert made.directory == plain.directory
    await made.prepare()
    assert made.describe()["search"]["depth"] == 5
    assert len(made.describe()["search"]["models"]["rerank"]) == 64
    await plain.prepare()
    assert "search" not in plain.describe()
    for retriever in (plain, made):
        await retriever.close()


async def test_a_reranker_that_cannot_be_used_says_so(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    name = "cross-encoder/ms-marco-MiniLM-L6-v2"
    absent = BM25Retriever(corpus, tmp_path / "index", progress=Silent(), rerank=name)
    with pytest.raises(SetupError, match=f"no reranker '{name}'.*hf download {name}"):
        await absent.search(QUERY, 2)
    classes = BM25Retriever(
        corpus, tmp_path / "index", progress=Silent(), rerank=str(make_reranker(tmp_path / "model", 3))
    )
    with pytest.raises(SetupError, match="a classifier of 3 classes, not a reranker"):
        await classes.search(QUERY, 2)
    for retriever in (absent, classes):
        await retriever.close()


async def test_marginal_relevance_spreads_over_unlike_passages(corpus: Path, tmp_path: Path) -> None:
    """Done by hand over the cosines: the best first, then the best of 0.4 relevance - 0.6 likeness."""
    plain = FaissRetriever(corpus, tmp_path / "index", progress=Silent())
    candidates = await plain.search(QUERY, 20)
    vectors = Embedder().embed([(p.title, p.text) for p in candidates])
    relevance = np.array([p.score for p in candidates])
    relevance = (relevance - relevance.min()) / (relevance.max() - relevance.min())
    picked = [0]
    while len(picked) < 6:
        value = {
            i: 0.4 * relevance[i] - 0.6 * max(vectors[i] @ vectors[j] for j in picked)
            for i in range(20)
            if i not in picked
        }
        picked.append(max(value, key=lambda i: value[i]))
    made = FaissRetriever(corpus, tmp_path / "index", progress=Silent(), mmr=0.4, depth=20)
    spread = await found(made)
    assert [id for id, _ in spread] == [candidates[i].id for i in picked]
    assert [score for _, score in spread] == sorted((score for _, score in spread), reverse=True)
    relevant = FaissRetriever(corpus, tmp_path / "index", progress=Silent(), mmr=1, depth=20)
    assert [id for id, _ in await found(relevant)] == [p.id for p in candidates[:6]]
    await plain.close()


def test_marginal_relevance_by_hand() -> None:
    """The twin of the first (0.9 alike) gives way to the third: 0.5·0.8 - 0.5·0.9 < 0.5·0.5 - 0.5·0.1."""
    likeness = np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]])
    picked = diversify(np.array([1.0, 0.8, 0.5]), likeness, 3, 0.5)
    assert [place for place, _ in picked] == [0, 2, 1]
    assert [value for _, value in picked] == pytest.approx([0.5, 0.2, -0.05])


def test_weighted_fusion_by_hand() -> None:
    """Dense 9, 5, 1 is 1, 0.5, 0; lexical 30, 10 is 1, 0; a row that is missing counts 0."""
    rows, scores = blend([([4, 7, 2], [9.0, 5.0, 1.0]), ([7, 1], [30.0, 10.0])], [0.3, 0.7], 10)
    assert rows == [7, 4, 1, 2]
    assert scores == pytest.approx([0.85, 0.3, 0, 0])
    assert scaled(np.array([2.0, 2.0])).tolist() == [1, 1]
    assert blend([([], []), ([], [])], [0.5, 0.5], 3) == ([], [])


async def test_a_hybrid_is_told_how_to_fuse(corpus: Path, tmp_path: Path) -> None:
    halves = []
    for cls in (FaissRetriever, BM25Retriever):
        made = cls(corpus, tmp_path / cls.kind, progress=Silent())
        halves.append(await found(made, 100))
    ids = sorted({id for half in halves for id, _ in half})
    rankings = [([ids.index(id) for id, _ in half], [score for _, score in half]) for half in halves]
    rows, scores = blend(rankings, [0.8, 0.2], 6)
    weighted = HybridRetriever(
        corpus, tmp_path / "hybrid", progress=Silent(), fusion="weighted", dense_weight=0.8
    )
    expected = [(ids[row], pytest.approx(score)) for row, score in zip(rows, scores, strict=True)]
    assert await found(weighted) == expected
    ranks = [{id: rank for rank, (id, _) in enumerate(half, 1)} for half in halves]
    sums = {id: sum(1 / (100 + r[id]) for r in ranks if id in r) for id in ids}
    medrag = HybridRetriever(corpus, tmp_path / "hybrid", progress=Silent(), rrf_k=100)
    best = sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:6]
    assert await found(medrag) == [(id, pytest.approx(score)) for id, score in best]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mmr": 1.5}, "mmr between 0"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"rrf_k": 0}, "rrf_k must be at least 1"),
        ({"dense_weight": "2"}, "dense_weight between 0 and 1"),
        ({"fusion": "best"}, "fusion"),
        ({"rerenk": "x"}, "Did you mean 'rerank'"),
    ],
)
def test_options_that_make_no_sense(corpus: Path, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HybridRetriever(corpus, tmp_path / "index", progress=Silent(), **options)
