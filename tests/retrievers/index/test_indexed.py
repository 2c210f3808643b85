"""FAISS, BM25 and hybrid indexes: right answers, the same alone and in a crowd, never for another corpus."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evalkit_retrievers.corpus.corpus import Corpus
from evalkit_retrievers.encoding.embedder import Embedder
from evalkit_retrievers.index.bm25 import BM25Retriever, LexicalEngine
from evalkit_retrievers.index.dense import FaissRetriever
from evalkit_retrievers.index.hybrid import HybridRetriever
from evalkit_retrievers.index.indexed import IndexedRetriever
from evalkit_retrievers.index.topk import Hits

from evalkit.errors import CorpusError, IndexMismatch, SetupError, UsageError
from evalkit.protocols import Retriever
from evalkit.rag.retrievers import open_retriever
from evalkit.types import Passage
from evalkit.util.progress import Silent

ALL = {cls.kind: cls for cls in (FaissRetriever, BM25Retriever, HybridRetriever)}
QUESTIONS = [
    "Does aspirin help against migraine?",
    "insulin",
    "Which drug for gout?",
    "who died in asthma trials",
]


@pytest.fixture
def corpus(write: Any, documents: list[dict[str, Any]]) -> Path:
    path: Path = write(documents)
    return path


@pytest.fixture(params=ALL)
async def retriever(request: Any, corpus: Path, tmp_path: Path) -> AsyncIterator[IndexedRetriever]:
    made = ALL[request.param](corpus, tmp_path / "index", progress=Silent())
    yield made
    await made.close()


def pairs(passages: Sequence[Passage]) -> list[tuple[str, float]]:
    return [(p.id, p.score) for p in passages]


async def test_the_names_in_the_entry_points_give_these_retrievers(corpus: Path, tmp_path: Path) -> None:
    for kind, cls in ALL.items():
        made = open_retriever(kind, corpus, tmp_path, progress=Silent())
        assert isinstance(made, cls)
        assert isinstance(made, Retriever)
        await made.close()


async def test_a_name_may_carry_options(corpus: Path, tmp_path: Path) -> None:
    made = open_retriever(
        "bm25?k1=1.5&chunk_words=6&chunk_sections=true", corpus, tmp_path, progress=Silent()
    )
    await made.prepare()
    facts = made.describe()
    await made.close()
    assert (facts["engine"]["k1"], facts["options"]["chunk_words"]) == (1.5, 6)
    assert facts["n_passages"] > facts["n_documents"]
    for text, message in (
        ("bm25?k1", "write options as bm25\\?option=value"),
        ("bm25?k1=high", "options of the bm25 retriever"),
        ("bm26?k1=1", "no retriever 'bm26'"),
    ):
        with pytest.raises(UsageError, match=message):
            open_retriever(text, corpus, tmp_path, progress=Silent())
    with pytest.raises(UsageError, match="k1 is set twice"):
        open_retriever("bm25?k1=1", corpus, tmp_path, progress=Silent(), k1=2.0)


async def test_passages_come_whole_and_best_first(
    retriever: IndexedRetriever, documents: list[dict[str, Any]]
) -> None:
    found = await retriever.search("Does heparin prevent thrombosis?", 5)
    assert found[0].id == "heparin-thrombosis"
    row = next(row for row in documents if row["id"] == found[0].id)
    assert (found[0].text, found[0].title, found[0].metadata) == (
        row["text"],
        row["title"],
        {"year": row["year"]},
    )
    assert found[0].document == found[0].id
    assert len(found) == 5
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


async def test_equal_documents_go_by_id_even_where_the_list_ends(retriever: IndexedRetriever) -> None:
    twins = ["a-copy", "metformin-thrombosis", "z-copy"]
    everything = [p.id for p in await retriever.search("metformin in thrombosis", 3)]
    assert everything == twins
    assert [p.id for p in await retriever.search("metformin in thrombosis", 2)] == twins[:2]
    assert [p.id for p in await retriever.search("metformin in thrombosis", 1)] == twins[:1]


async def test_a_hundred_searches_at_once_equal_a_hundred_in_a_row(retriever: IndexedRetriever) -> None:
    queries = [(f"{question} {n}", 1 + n % 3) for n in range(25) for question in QUESTIONS]
    together = await asyncio.gather(*(retriever.search(query, k) for query, k in queries))
    for (query, k), passages in zip(queries, together, strict=True):
        assert pairs(await retriever.search(query, k)) == pairs(passages)


async def test_limits_of_k_and_of_queries(retriever: IndexedRetriever, documents: list[Any]) -> None:
    assert len(await retriever.search("patients", 10_000)) == len(documents)
    assert await retriever.search("  \n", 3) == []
    assert isinstance(await retriever.search("💊 ?! \x00", 3), list)
    for k in (0, -2):
        with pytest.raises(UsageError, match="k ≥ 1"):
            await retriever.search("gout", k)


async def test_documents_are_had_without_an_index(retriever: IndexedRetriever) -> None:
    found = await retriever.get(["insulin-gout", "aspirin-gout"])
    assert [p.title for p in found] == ["Insulin in gout", "Aspirin in gout"]
    assert not retriever.directory.exists()
    with pytest.raises(CorpusError, match="no document 'gout'"):
        await retriever.get(["gout"])


async def test_an_index_is_used_again_and_opened_by_its_folder_alone(
    retriever: IndexedRetriever, counting: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = pairs(await retriever.search(QUESTIONS[0], 4))
    monkeypatch.chdir(tmp_path)
    again = type(retriever).open(Path("index"), progress=counting)
    assert pairs(await again.search(QUESTIONS[0], 4)) == first
    assert "Reading documents" not in counting.totals
    assert again.describe() == retriever.describe()
    await again.close()


async def test_provenance_is_described(retriever: IndexedRetriever, documents: list[Any]) -> None:
    assert retriever.describe() == {}  # nothing was searched yet
    await retriever.prepare()
    facts = retriever.describe()
    assert (facts["n_documents"], facts["n_passages"]) == (len(documents), len(documents))
    assert facts["kind"] == retriever.kind
    assert facts["corpus"]["fingerprint"] == retriever.corpus.fingerprint
    assert set(facts["versions"]) == set(retriever.packages)
    assert json.loads((retriever.directory / "manifest.json").read_text()) == facts


async def test_passages_of_a_chunked_corpus_name_their_document(write: Any, tmp_path: Path) -> None:
    text = "Aspirin was given. Migraine went away. Nobody complained of gout. All of them went home."
    path = write([{"id": "x#1", "title": "T", "text": text}, {"id": "y", "text": "Short."}])
    for kind, cls in ALL.items():
        made = cls(path, tmp_path / kind, progress=Silent(), chunk_words=7, overlap=1)
        (found,) = await made.search("complained of gout", 1)
        assert (found.id, found.document) == ("x#1#1", "x#1")
        assert found.text == "Migraine went away. Nobody complained of gout."
        assert [p.text for p in await made.get([found.document])] == [text]
        assert made.describe()["n_documents"] == 2
        assert made.describe()["n_passages"] > 2
        await made.close()


async def test_faiss_equals_a_product_of_matrices(corpus: Path, tmp_path: Path) -> None:
    made = FaissRetriever(corpus, tmp_path / "index", progress=Silent())
    passages = sorted(made.corpus, key=lambda p: p.id)
    embedder = Embedder()
    vectors = embedder.embed([f"{p.title} {p.text}" for p in passages])
    for query, product in zip(QUESTIONS, embedder.embed_queries(QUESTIONS) @ vectors.T, strict=True):
        order = np.lexsort((np.arange(len(product)), -np.round(product, 6)))[:12]
        found = await made.search(query, 12)
        assert [p.id for p in found] == [passages[i].id for i in order]
        assert [p.score for p in found] == pytest.approx(product[order].tolist(), abs=2e-6)
    await made.close()


async def test_bm25_is_the_formula(write: Any, tmp_path: Path) -> None:
    """Lucene: idf · tf / (tf + k1 (1 - b + b · length / mean)), idf = ln(1 + (N - n + 0.5) / (n + 0.5))."""
    rows = [
        {"id": "a", "text": "fever fever cough"},
        {"id": "b", "text": "fever"},
        {"id": "c", "text": "the rash"},
    ]
    made = BM25Retriever(write(rows), tmp_path / "index", progress=Silent(), k1=1.2, b=0.75)
    mean = (3 + 1 + 1) / 3

    def score(tf: int, length: int, n: int) -> float:
        idf = np.log(1 + (3 - n + 0.5) / (n + 0.5))
        return float(idf * tf / (tf + 1.2 * (0.25 + 0.75 * length / mean)))

    found = await made.search("Coughs with the fevers", 3)
    assert pairs(found) == [
        ("a", pytest.approx(score(2, 3, 2) + score(1, 3, 1), rel=1e-5)),
        ("b", pytest.approx(score(1, 1, 2), rel=1e-5)),
    ]
    assert await made.search("the", 3) == []
    await made.close()


async def test_hybrid_is_the_fusion_of_both(corpus: Path, tmp_path: Path) -> None:
    made = {kind: cls(corpus, tmp_path / kind, progress=Silent()) for kind, cls in ALL.items()}
    for query in QUESTIONS:
        scores: dict[str, float] = {}
        for kind in ("faiss", "bm25"):
            for rank, passage in enumerate(await made[kind].search(query, 100), 1):
                scores[passage.id] = scores.get(passage.id, 0) + 1 / (60 + rank)
        expected = sorted(scores.items(), key=lambda item: (-round(item[1], 12), item[0]))[:7]
        found = pairs(await made["hybrid"].search(query, 7))
        assert [id for id, _ in found] == [id for id, _ in expected]
        assert [s for _, s in found] == pytest.approx([s for _, s in expected])
    for retriever in made.values():
        await retriever.close()


class Waiting(LexicalEngine):
    """Counts its batches; the first one waits until the event loop has done something else."""

    def __init__(self) -> None:
        super().__init__(0.9, 0.4)
        self.batches: list[int] = []
        self.leave = threading.Event()

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        self.batches.append(len(queries))
        assert self.leave.wait(30), "the event loop was blocked by a search"
        return super().search(queries, k)


class WaitingRetriever(BM25Retriever):
    def _make_engine(self) -> Waiting:
        return Waiting()


async def test_calls_during_a_search_become_one_batch_and_block_nobody(corpus: Path, tmp_path: Path) -> None:
    made = WaitingRetriever(corpus, tmp_path / "index", progress=Silent())
    engine = made._engine
    assert isinstance(engine, Waiting)
    first = asyncio.create_task(made.search("aspirin", 2))
    while not engine.batches:
        await asyncio.sleep(0.01)
    rest = [asyncio.create_task(made.search(f"gout {n}", 2)) for n in range(99)]
    await asyncio.sleep(0)
    engine.leave.set()
    assert [len(found) for found in await asyncio.gather(first, *rest)] == [2] * 100
    assert engine.batches == [1, 99]
    await made.close()


async def test_an_index_for_another_corpus_encoder_or_chunking_is_refused(
    write: Any, documents: list[dict[str, Any]], corpus: Path, tmp_path: Path
) -> None:
    built = BM25Retriever(corpus, tmp_path / "index", progress=Silent())
    await built.prepare()
    await built.close()

    def refused(cls: type[IndexedRetriever], corpus: Path, **options: Any) -> str:
        with pytest.raises(IndexMismatch) as caught:
            cls(corpus, tmp_path / "index", progress=Silent(), **options)
        assert "evalkit index build" in str(caught.value)
        assert str(tmp_path / "index") in str(caught.value)
        return str(caught.value)

    assert "chunk_words is None in the index, 50 now" in refused(BM25Retriever, corpus, chunk_words=50)
    assert "engine.k1 is 0.9 in the index, 1.5 now" in refused(BM25Retriever, corpus, k1=1.5)
    assert "kind is 'bm25' in the index, 'faiss' now" in refused(FaissRetriever, corpus)
    assert "corpus fingerprint is" in refused(BM25Retriever, write(documents[:5], "other.jsonl"))
    with pytest.raises(IndexMismatch, match="is a bm25 index"):
        HybridRetriever.open(tmp_path / "index", progress=Silent())
    moved = corpus.rename(tmp_path / "moved.jsonl")
    await BM25Retriever(moved, tmp_path / "index", progress=Silent()).close()


async def test_an_index_of_other_weights_is_refused(corpus: Path, tmp_path: Path) -> None:
    made = FaissRetriever(corpus, tmp_path / "index", progress=Silent())
    await made.prepare()
    await made.close()
    manifest = tmp_path / "index" / "manifest.json"
    weights = Embedder().identity["weights"]
    manifest.write_text(manifest.read_text().replace(weights, "0" * 64))
    with pytest.raises(
        IndexMismatch, match=f"engine.encoder.weights is '0{{64}}' in the index, '{weights}' now"
    ):
        FaissRetriever(corpus, tmp_path / "index", progress=Silent())


async def test_a_corpus_that_changed_since_is_refused(corpus: Path, tmp_path: Path) -> None:
    made = BM25Retriever(corpus, tmp_path / "index", progress=Silent())
    await made.prepare()
    await made.close()
    corpus.write_text(corpus.read_text() + '{"id": "new", "text": "A new trial."}\n')
    with pytest.raises(IndexMismatch, match="corpus fingerprint"):
        BM25Retriever.open(tmp_path / "index", progress=Silent())


async def test_the_corpus_is_read_anew_only_where_its_files_have_changed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = BM25Retriever(corpus, tmp_path / "index", progress=Silent())
    await made.prepare()
    await made.close()
    reads: list[Path] = []
    honest = Corpus.read_fingerprint

    def counted(self: Corpus) -> str:
        reads.append(self.path)
        return honest(self)

    monkeypatch.setattr(Corpus, "read_fingerprint", counted)

    async def opened() -> list[bool | None]:
        made = BM25Retriever.open(tmp_path / "index", progress=Silent())
        assert await made.search("gout", 1)
        seen = len(reads)
        checks = await made.verify()
        await made.close()
        assert len(reads) == seen + 1  # always by verify
        return [check.ok for check in checks]

    assert all(await opened())
    assert len(reads) == 1
    os.utime(corpus, (1, 1))
    assert all(await opened())
    assert len(reads) == 3
    await opened()
    assert len(reads) == 4
    corpus.write_text(corpus.read_text().replace("We gave", "We sold"))
    manifest = tmp_path / "index" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["corpus"]["stamp"] = Corpus(corpus).stamp  # as if nothing had changed
    manifest.write_text(json.dumps(facts))
    made = BM25Retriever.open(tmp_path / "index", progress=Silent())
    assert [check.name for check in await made.verify() if not check.ok] == ["corpus"]
    await made.close()


async def test_an_interrupted_build_is_no_index(retriever: IndexedRetriever) -> None:
    await retriever.prepare()
    (retriever.directory / "manifest.json").unlink()
    with pytest.raises(SetupError, match="holds no index"):
        type(retriever).open(retriever.directory, progress=Silent())
    again = type(retriever)(retriever.corpus.path, retriever.directory, progress=Silent())
    assert await again.search("gout", 1)
    await again.close()


async def test_closing_stops_an_embedding_under_way(write: Any, tmp_path: Path) -> None:
    path = write([{"id": str(n), "text": f"Rare text {n} of {tmp_path}."} for n in range(2000)])
    embedded = threading.Event()

    class Watching(Silent):
        def bar(self, label: str, total: int | None) -> Any:
            if label == "Embedding":
                embedded.set()
            return super().bar(label, total)

    made = FaissRetriever(path, tmp_path / "index", progress=Watching())
    search = asyncio.create_task(made.search("rare", 1))
    await asyncio.to_thread(embedded.wait, 60)
    await made.close()
    with pytest.raises(SetupError, match="interrupted"):
        await search
    assert not (tmp_path / "index" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encodr": "x"}, "no option 'encodr'. Did you mean 'encoder'"),
        ({"chunk_words": 0}, "chunk_words must be at least 1"),
        ({"chunk_words": "many"}, "chunk_words"),
        ({"overlap": 2}, "only with chunk_words"),
        ({"encoder": ""}, "encoder is empty"),
        ({"mmr": "nan"}, "mmr between 0"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"nprobe": 0}, "nprobe and ef_search must be at least 1"),
    ],
)
def test_options_that_make_no_sense(
    corpus: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        FaissRetriever(corpus, tmp_path / "index", progress=Silent(), **options)


async def test_what_is_wrong_with_a_corpus_or_a_folder_reaches_the_caller(write: Any, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file"):
        BM25Retriever(tmp_path / "none.jsonl", tmp_path / "index", progress=Silent())
    broken = BM25Retriever(write(['{"id": "a", "txt": "x"}']), tmp_path / "index", progress=Silent())
    for _ in range(2):
        with pytest.raises(CorpusError, match=r"corpus\.jsonl:1: document 'a' has no text"):
            await broken.search("x", 1)
    await broken.close()
    wordless = BM25Retriever(write([{"id": "a", "text": "the of !"}]), tmp_path / "index", progress=Silent())
    with pytest.raises(CorpusError, match="no document has a word"):
        await wordless.prepare()
    await wordless.close()
    (tmp_path / "file").write_text("")
    blocked = BM25Retriever(write([{"id": "a", "text": "words"}]), tmp_path / "file", progress=Silent())
    with pytest.raises(SetupError, match="index cannot be written"):
        await blocked.prepare()
    await blocked.close()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text('{"kind": 5}')
    with pytest.raises(SetupError, match=r"damaged.*build the index again"):
        BM25Retriever.open(tmp_path / "damaged", progress=Silent())


@pytest.mark.parametrize("index", ["bogus", "SQ9", "{lists}", "PQ7"])
async def test_an_index_that_faiss_does_not_know_is_refused_before_anything_is_read(
    corpus: Path, tmp_path: Path, index: str
) -> None:
    made = FaissRetriever(corpus, tmp_path / "index", progress=Silent(), index=index)
    corpus.unlink()
    with pytest.raises(UsageError, match="no FAISS index"):
        await made.prepare()
    await made.close()
