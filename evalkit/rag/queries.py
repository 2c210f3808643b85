"""What is searched for: the question as it stands, with its options, or what the model makes of it.

    question   the question alone, as in MedRAG (Xiong et al. 2024): options are not shown to the search
    options    the question and its options
    hyde       the question, and a passage that the model invents to answer it (Gao et al. 2023, "Precise
               Zero-Shot Dense Retrieval without Relevance Labels"; there their vectors are averaged, here
               their rankings are fused, which any retriever can do)
    multi      the question, and queries that the model writes in other words

A task passes its retriever through ``QueryRewritingRetriever`` and searches as before:

    asked = Asked(retriever, sample, model, query)
    passages = await asked.search(sample.input, k)
    return asked.noted(Answer(response, passages=passages))

The model's calls for it go through the task's own ``model``: the same engine, cache and accounting.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from evalkit.errors import SetupError
from evalkit.model import Model
from evalkit.protocols import Retriever
from evalkit.types import Answer, Passage, Sample

QueryStrategy = Literal["question", "hyde", "multi"]
ChoiceQueryStrategy = Literal["question", "options", "hyde", "multi"]

REWORDINGS = 3
DEPTH = 100  # how far down rankings are fused, at least
CONSTANT = 60  # of reciprocal rank fusion, as in Cormack, Clarke and Büttcher, SIGIR 2009

_HERE = Path(__file__).parent
HYDE = (_HERE / "query_hyde.txt").read_text(encoding="utf-8").removesuffix("\n")
MULTI = (_HERE / "query_multi.txt").read_text(encoding="utf-8").removesuffix("\n")
_BULLET = re.compile(r"^\s*(?:[-*•]+|\(?\d{1,2}[.):])?\s*")


async def formed(sample: Sample, model: Model, form: ChoiceQueryStrategy) -> list[str]:
    """The queries for a sample, the question first where it is one of them.

    A reply without any text leaves the question alone. Raises ``SetupError`` for ``options`` of a sample
    that has none, ``ModelError`` where the model's call fails.
    """
    question = sample.input
    if form == "options":
        if not sample.choices:
            raise SetupError(
                f"query=options: sample {sample.id!r} has no options; query=question searches without"
            )
        return [" ".join([question, *sample.choices])]
    if form == "hyde":
        reply = await model.generate(
            HYDE.format(question=question), max_tokens=256, temperature=0.0, reference=question
        )
        return _distinct([question, " ".join(reply.text.split())])
    if form == "multi":
        prompt = MULTI.format(question=question, n=REWORDINGS)
        reply = await model.generate(prompt, max_tokens=200, temperature=0.0, reference=question)
        lines = (_BULLET.sub("", line).strip().strip('"') for line in reply.text.splitlines())
        return _distinct([question, *[line for line in lines if line][:REWORDINGS]])
    return [question]


class QueryRewritingRetriever:
    """A retriever for one sample that is searched by the queries of a form, made at the first search."""

    def __init__(
        self, retriever: Retriever, sample: Sample, model: Model, form: ChoiceQueryStrategy = "question"
    ) -> None:
        self._retriever, self._sample, self._model, self._form = retriever, sample, model, form
        self.queries: list[str] = []

    async def search(self, query: str, k: int) -> Sequence[Passage]:
        """The ``k`` best passages; of several queries, by the sum of 1 / (60 + rank), ties by id."""
        if self._form == "question":
            return await self._retriever.search(query, k)
        self.queries = self.queries or await formed(self._sample, self._model, self._form)
        if len(self.queries) == 1:
            return await self._retriever.search(self.queries[0], k)
        depth = max(k, DEPTH)
        return fuse(await asyncio.gather(*(self._retriever.search(q, depth) for q in self.queries)), k)

    async def get(self, ids: Sequence[str]) -> Sequence[Passage]:
        """Documents by id."""
        return await self._retriever.get(ids)

    def noted(self, answer: Answer) -> Answer:
        """The answer with the queries in its metadata, where they were more than the question."""
        if not self.queries:
            return answer
        return msgspec.structs.replace(answer, metadata={**answer.metadata, "queries": self.queries})


def fuse(rankings: Sequence[Sequence[Passage]], k: int) -> list[Passage]:
    """Reciprocal rank fusion of passages, their scores in place of the retriever's."""
    scores: dict[str, float] = {}
    passages: dict[str, Passage] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking, 1):
            scores[passage.id] = scores.get(passage.id, 0.0) + 1 / (CONSTANT + rank)
            passages.setdefault(passage.id, passage)
    best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    return [msgspec.structs.replace(passages[id], score=scores[id]) for id in best]


def _distinct(queries: Sequence[str]) -> list[str]:
    return [query for query in dict.fromkeys(queries) if query]
