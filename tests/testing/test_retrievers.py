"""Our own retrievers keep the contract of ``Retriever``; the kit finds a retriever that does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import CorpusError
from evalkit.protocols import Check, Retriever
from evalkit.rag.retrievers import retriever_class
from evalkit.testing import check_retriever
from evalkit.types import Passage


@pytest.mark.parametrize(
    ("name", "options"),
    [("bm25", {}), ("faiss", {}), ("hybrid", {}), ("bm25", {"chunk_sentences": 1}), ("faiss", {"mmr": 0.5})],
)
def test_ours(name: str, options: dict[str, Any]) -> None:
    assert check_retriever(retriever_class(name), **options)[0].document == "insulin"


class Words(Retriever):
    """Counts shared words: a whole retriever, with a fault that ``fault`` names."""

    def __init__(self, corpus: Path, directory: Path, *, progress: Any, fault: str = "") -> None:
        super().__init__(corpus, directory, progress=progress)
        rows = map(json.loads, corpus.read_text().splitlines())
        self.texts, self.fault = {row["id"]: row["text"] for row in rows}, fault
        self.again = directory.exists()
        directory.mkdir(exist_ok=True)

    async def search(self, query: str, k: int) -> Sequence[Passage]:
        words = set(query.lower().strip("?").split())
        found = [
            Passage(id, text, score=float(len(words & set(text.lower().strip(".").split()))))
            for id, text in self.texts.items()
        ]
        found.sort(key=lambda p: (-p.score, p.id), reverse=self.fault == "order")
        if self.fault == "again" and self.again:
            found = found[1:]
        return found if self.fault == "k" else found[:k]

    async def get(self, ids: Sequence[str]) -> Sequence[Passage]:
        if self.fault != "lost" and (lost := set(ids) - self.texts.keys()):
            raise CorpusError(f"no document {min(lost)}")
        known = sorted(ids) if self.fault == "get" else ids
        return [Passage(id, self.texts.get(id, "?")[: 9 if self.fault == "whole" else None]) for id in known]

    async def unknown(self, documents: Sequence[str]) -> list[str] | None:
        return [] if self.fault == "unknown" else [id for id in documents if id not in self.texts]

    async def verify(self) -> list[Check] | None:
        return [Check("rows", self.fault != "verify", "6")]

    def describe(self) -> dict[str, Any]:
        return {"home": object() if self.fault == "describe" else "here"}


def test_a_plain_retriever_passes() -> None:
    assert check_retriever(Words)[0].id == "insulin"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("order", "best first by Passage.score, ties by id"),
        ("k", "6 passages for k=3"),
        ("again", "a second opening finds other passages"),
        ("lost", "get of an unknown id must raise CorpusError"),
        ("get", "in the order of their ids"),
        ("whole", "get must return whole documents"),
        ("unknown", r"unknown returned \[\]"),
        ("verify", "verify, of an index just built"),
        ("describe", "describe must return what JSON can hold"),
    ],
)
def test_a_faulty_retriever_is_found(fault: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_retriever(Words, fault=fault)
