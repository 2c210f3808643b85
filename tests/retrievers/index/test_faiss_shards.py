"""Families of FAISS indexes: sharded as whole, with the recall that a product of matrices finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evalkit_retrievers.index import faiss_factory, faiss_shards
from evalkit_retrievers.index.dense import FaissRetriever

from evalkit.errors import SetupError, UsageError
from evalkit.util.progress import Silent

N, DIMENSION = 6_000, 32


class Clustered:
    """Unit vectors around a hundred centres, in blocks of a thousand."""

    def __init__(self, n: int = N, similarity: Any = "cosine") -> None:
        random = np.random.default_rng(7)
        centres = random.normal(size=(100, DIMENSION))
        vectors = centres[random.integers(100, size=n)] + 0.7 * random.normal(size=(n, DIMENSION))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        if similarity != "cosine":
            self.vectors *= random.uniform(1, 3, size=(n, 1)).astype(np.float32)
        self.n, self.similarity = n, similarity

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.vectors[rows]

    def blocks(self) -> Iterator[np.ndarray]:
        for start in range(0, self.n, 1_000):
            yield self.vectors[start : start + 1_000]

    def nearest(self, queries: np.ndarray, k: int) -> np.ndarray:
        """By a product of matrices, or by distances."""
        scores = queries @ self.vectors.T
        if self.similarity == "l2":
            scores = 2 * scores - (self.vectors**2).sum(1)
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
def test_an_exact_index_in_shards_is_exact(tmp_path: Path, similarity: str) -> None:
    source = Clustered(similarity=similarity)
    facts = faiss_shards.build("flat", source, tmp_path, Silent(), shard_bytes=1_500 * 4 * DIMENSION)
    assert len(list(tmp_path.glob("*.faiss"))) == 3
    assert (facts["family"], facts["recall@10"]) == ("flat", 1.0)
    queries = source.vectors[::97]
    _, rows = faiss_shards.Shards(tmp_path).index.search(queries, 10)
    np.testing.assert_array_equal(rows, source.nearest(queries, 10))


@pytest.mark.parametrize("name", ["flat", "sq8", "ivf", "IVF40,PQ8x4", "OPQ8,IVF40,PQ8x4"])
def test_shards_find_what_one_index_finds(tmp_path: Path, name: str) -> None:
    source, found = Clustered(), []
    for folder, vectors in ((tmp_path / "whole", N), (tmp_path / "parts", 2_000)):
        folder.mkdir()
        facts = faiss_shards.build(name, source, folder, Silent(), shard_bytes=vectors * 4 * DIMENSION)
        found.append(
            faiss_shards.ShardedIndex(folder, facts, "cosine", nprobe=4).nearest(source.vectors[::97], 10)
        )
    assert len(list(folder.glob("*.faiss"))) == 3
    for (rows, scores), (other_rows, other_scores) in zip(*found, strict=True):
        assert scores == pytest.approx(other_scores, abs=2e-6)
        assert rows == other_rows


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2"])
def test_scores_are_the_larger_the_nearer_and_ties_go_by_row(tmp_path: Path, similarity: Any) -> None:
    source = Clustered(2_000, similarity)
    source.vectors[[500, 1_900, 20]] = source.vectors[3]
    index = faiss_shards.ShardedIndex(
        tmp_path, faiss_shards.build("flat", source, tmp_path, Silent()), similarity
    )
    query, twins = source.vectors[3:4], [3, 20, 500, 1_900]
    scores = source.vectors @ query[0]
    if similarity == "l2":
        scores = -((source.vectors - query) ** 2).sum(1)
        assert index.nearest(query, 4)[0][0] == twins
    ((rows, found),) = index.nearest(query, 50)
    assert found == pytest.approx(np.sort(scores)[::-1][:50].tolist(), abs=2e-4)
    places = [rows.index(twin) for twin in twins]
    assert places == list(range(places[0], places[0] + 4))
    for k in (1, 2, 3):
        assert index.nearest(query, k)[0] == (rows[:k], found[:k])


@pytest.mark.parametrize("similarity", ["cosine", "l2"])
def test_lists_that_hold_less_than_was_asked_for_give_what_they_have(tmp_path: Path, similarity: Any) -> None:
    source = Clustered(similarity=similarity)
    facts = faiss_shards.build("IVF100,Flat", source, tmp_path, Silent())
    index = faiss_shards.ShardedIndex(tmp_path, facts, similarity, nprobe=1)
    for rows, scores in index.nearest(source.vectors[:50], 1_000):
        assert 1 <= len(rows) == len(scores) < 1_000
        assert scores == sorted(scores, reverse=True)
        assert min(rows) >= 0


@pytest.mark.parametrize("name", ["sq8", "hnsw", "ivf", "IVF16,SQ8", "IVF40,PQ8x4", "OPQ8,IVF40,PQ8x4"])
def test_recall_is_measured_against_exact_search(tmp_path: Path, name: str) -> None:
    source = Clustered()
    facts = faiss_shards.build(name, source, tmp_path, Silent(), shard_bytes=3_000 * 4 * DIMENSION)
    opened = faiss_shards.Shards(tmp_path)
    for effort in {"nprobe", "efSearch"} & set(facts):
        opened.set_effort(effort, facts[effort])
    own = faiss_shards.sample_rows(N)
    found = opened.index.search(source.take(own), 11)[1]
    exact = source.nearest(source.take(own), 11)
    overlaps = [
        len(set([r for r in f if r != o][:10]) & set([r for r in e if r != o][:10]))
        for o, f, e in zip(own, found, exact, strict=True)
    ]
    assert facts["recall@10"] == pytest.approx(np.mean(overlaps) / 10, abs=0.003)
    assert facts["recall_queries"] == len(own) == 200
    assert facts["recall@10"] > (0.3 if "PQ" in name else 0.9)
    assert facts["bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_the_family_follows_from_the_size() -> None:
    sizes = {200_000: "flat", 200_001: "ivf", 5_000_000: "ivf", 5_000_001: "ivfpq"}
    assert {n: faiss_factory.plan("auto", n, 384, "cosine").family for n in sizes} == sizes
    assert faiss_factory.plan("ivf", 1_000_000, 384, "cosine").factory == "IVF4000,Flat"
    assert faiss_factory.plan("ivfpq", 1_000_000, 384, "dot").factory == "IVF4000,PQ96"
    assert faiss_factory.plan("opq", 1_000_000, 100, "dot").factory == "OPQ25,IVF4000,PQ25"


def test_what_cannot_be_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no FAISS index 'IVFx,Fat'.*Known: auto, flat, sq8, hnsw, ivf"):
        faiss_shards.build("IVFx,Fat", Clustered(100), tmp_path, Silent())
    with pytest.raises(SetupError, match=r"index=ivfpq .* cannot be trained on 100 vectors.*index=flat"):
        faiss_shards.build("ivfpq", Clustered(100), tmp_path, Silent())


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="vectors are missing"):
        faiss_shards.Shards(tmp_path)
    faiss_shards.build("ivf", Clustered(), tmp_path, Silent())
    file = tmp_path / "vectors-00000.faiss"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(SetupError, match="damaged"):
        faiss_shards.Shards(tmp_path)


def test_an_index_larger_than_memory_is_refused_where_every_search_reads_it_whole(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"flat index of 12\.0 GiB .* memory of 8\.0 GiB.*index=ivf"):
        faiss_shards.check_fits(tmp_path, 12 * 2**30, "flat", 8 * 2**30)
    faiss_shards.check_fits(tmp_path, 12 * 2**30, "ivf", 8 * 2**30)
    faiss_shards.check_fits(tmp_path, 7 * 2**30, "flat", 8 * 2**30)
    assert 2**28 < faiss_shards.memory_bytes() < 2**46


@pytest.mark.parametrize("name", ["hnsw", "ivf", "sq8"])
async def test_a_retriever_over_each_family(
    write: Any, documents: list[dict[str, Any]], tmp_path: Path, name: str
) -> None:
    corpus = write(documents)
    exact = FaissRetriever(corpus, tmp_path / "exact", progress=Silent())
    made = FaissRetriever(corpus, tmp_path / name, progress=Silent(), index=name)
    for query in ("aspirin for migraine", "metformin in thrombosis"):
        expected = [(p.id, pytest.approx(p.score, abs=0.02)) for p in await exact.search(query, 4)]
        assert [(p.id, p.score) for p in await made.search(query, 4)] == expected
    facts = made.describe()["facts"]["index"]
    assert facts["family"] == name
    assert facts["recall@10"] > 0.9
    for retriever in (exact, made):
        await retriever.close()
