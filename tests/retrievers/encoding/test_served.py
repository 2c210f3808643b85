"""Encoders and rerankers behind HTTP: batches, order, retries, what the client adds, what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from evalkit_retrievers.encoding.embedder import Embedder
from evalkit_retrievers.index.bm25 import BM25Retriever
from evalkit_retrievers.index.dense import FaissRetriever

from evalkit.errors import ProbeError, ServerFailed, SetupError
from evalkit.util.progress import Silent
from tests.servers.in_thread import in_thread


class Server:
    """Embeds a text as its counts of a, b and c; reranks by the length of a text. Fails as it is told to."""

    def __init__(self) -> None:
        self.url, self.bodies, self.faults = "", [], []
        self.bare = False

    async def embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.faults:
            return web.json_response({"message": "not now"}, status=self.faults.pop(0))
        self.bodies.append(body)
        rows = [
            {"index": n, "embedding": [float(text.count(letter)) for letter in "abc"]}
            for n, text in enumerate(body["input"])
        ]
        return web.json_response({"data": rows[::-1], "model": body["model"]})

    async def rerank(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        rows = [{"index": n, "score": len(text)} for n, text in enumerate(body["documents"])]
        rows.sort(key=lambda row: -row["score"])
        if self.bare:
            return web.json_response(rows)
        return web.json_response(
            {"results": [{"index": row["index"], "relevance_score": row["score"]} for row in rows]}
        )


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with in_thread([web.post("/v1/embeddings", made.embed), web.post("/v1/rerank", made.rerank)]) as url:
        made.url = url
        yield made


def test_texts_go_in_batches_and_come_back_in_order(server: Server, tmp_path: Path) -> None:
    embedder = Embedder(f"openai:letters@{server.url}", cache=tmp_path)
    texts = ["a" * (n % 7) + "b" * (n % 5) + "c" for n in range(150)]
    vectors = embedder.embed(texts)
    counts = np.array([[text.count(letter) for letter in "abc"] for text in texts], np.float32)
    np.testing.assert_allclose(vectors, counts / np.linalg.norm(counts, axis=1, keepdims=True), atol=1e-6)
    distinct = len(set(texts))
    assert [len(body["input"]) for body in server.bodies] == [distinct]
    assert {body["model"] for body in server.bodies} == {"letters"}
    assert embedder.facts["recipe"] == "assumed"
    Embedder(f"openai:letters@{server.url}", cache=tmp_path).embed(texts[:9])
    assert len(server.bodies) == 1  # they were kept
    embedder.embed([f"{text}{n}" for n, text in enumerate(texts)])
    assert sorted(len(body["input"]) for body in server.bodies[1:]) == [22, 64, 64]


def test_a_known_model_gets_its_prefixes_from_the_client(server: Server, tmp_path: Path) -> None:
    embedder = Embedder(f"openai:intfloat/e5-base-v2@{server.url}", cache=tmp_path)
    embedder.embed([("Gout", "aspirin")])
    embedder.embed_queries(["aspirin?"])
    assert [body["input"] for body in server.bodies] == [["passage: Gout aspirin"], ["query: aspirin?"]]


def test_what_passes_is_tried_again_and_what_does_not_is_told(server: Server, tmp_path: Path) -> None:
    embedder = Embedder(f"openai:letters@{server.url}", cache=tmp_path)
    server.faults = [503, 500]
    assert embedder.embed(["abc"]).shape == (1, 3)
    server.faults = [401]
    with pytest.raises(ProbeError, match=r"answered 401.*key_env"):
        embedder.embed(["abcabc"])


def test_a_reply_that_lacks_a_text_is_refused(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("evalkit_retrievers.encoding.served._TRIES", 1)

    async def short(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"index": 0, "embedding": [1.0]}]})

    message = "not one 'embedding' for each of 2 texts"
    with in_thread([web.post("/v1/embeddings", short)]) as url, pytest.raises(ServerFailed, match=message):
        Embedder(f"openai:short@{url}", cache=tmp_path).embed(["a", "b"])


async def test_an_index_by_a_served_encoder_names_the_model(
    server: Server, write: Any, tmp_path: Path
) -> None:
    corpus = write([{"id": "x", "text": "aaa"}, {"id": "y", "text": "bbb"}, {"id": "z", "text": "ccc"}])
    made = FaissRetriever(
        corpus, tmp_path / "i", progress=Silent(), encoder=f"sglang:letters@{server.url}/v1?timeout=5"
    )
    assert [p.id for p in await made.search("bbc", 2)] == ["y", "z"]
    facts = made.describe()
    assert facts["engine"]["encoder"]["weights"] == "letters"
    assert facts["facts"]["encoder"]["computed"] == f"served as sglang:letters@{server.url}/v1"
    await made.close()


@pytest.mark.parametrize("bare", [False, True])
async def test_a_served_reranker_orders(server: Server, write: Any, tmp_path: Path, bare: bool) -> None:
    server.bare = bare
    corpus = write([{"id": n, "text": "gout " + "x" * int(n)} for n in "3142"])
    made = BM25Retriever(corpus, tmp_path / "i", progress=Silent(), rerank=f"sglang:longest@{server.url}")
    assert [(p.id, p.score) for p in await made.search("gout", 3)] == [("4", 9), ("3", 8), ("2", 7)]
    assert server.bodies[0]["query"] == "gout"
    assert made.describe()["search"]["models"] == {"rerank": f"sglang:longest@{server.url}"}
    await made.close()


def test_a_server_without_embeddings_says_so(tmp_path: Path) -> None:
    with in_thread([]) as url, pytest.raises(ProbeError, match=r"no /embeddings.*--is-embedding"):
        Embedder(f"sglang:chat@{url}", cache=tmp_path).embed(["a"])


def test_openai_without_a_key_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SetupError, match="OPENAI_API_KEY is not set"):
        Embedder("openai:text-embedding-3-small", cache=tmp_path)
