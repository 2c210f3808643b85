"""Query strategies: the question alone, the question with its options, or queries that the model writes.

    question   the question alone, as in MedRAG (Xiong et al. 2024): options are not shown to the search
    options    the question and its options
    hyde       the question, and a passage that the model invents to answer it (Gao et al. 2023, "Precise
               Zero-Shot Dense Retrieval without Relevance Labels"; there their vectors are averaged, here
               their rankings are fused, which any retriever can do)
    multi      the question, and queries that the model writes in other words

The task's own ``model`` writes them: with the same engine, cache and accounting.
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
from evalkit.rag.fusion import fuse
from evalkit.types import Passage, Sample

QueryStrategy = Literal["question", "hyde", "multi"]
ChoiceQueryStrategy = Literal["question", "options", "hyde", "multi"]

REWORDINGS = 3
DEPTH = 100  # of the fused rankings, at least

_HERE = Path(__file__).parent
HYDE = (_HERE / "query_hyde.txt").read_text(encoding="utf-8").removesuffix("\n")
MULTI = (_HERE / "query_multi.txt").read_text(encoding="utf-8").removesuffix("\n")
_BULLET = re.compile(r"^\s*(?:[-*•]+|\(?\d{1,2}[.):])?\s*")


async def write_queries(sample: Sample, model: Model, strategy: ChoiceQueryStrategy) -> list[str]:
    """Return the queries for a sample; the question, if it is one of them, comes first.

    A reply without text adds no query. Raises ``SetupError`` for ``options`` of a sample
    that has none, ``ModelError`` where the model's call fails.
    """
    question = sample.input
    if strategy == "options":
        if not sample.choices:
            raise SetupError(f"query=options: sample {sample.id!r} has no options; use query=question")
        return [" ".join([question, *sample.choices])]
    if strategy == "hyde":
        reply = await model.generate(
            HYDE.format(question=question), max_tokens=256, temperature=0.0, reference=question
        )
        return _distinct([question, " ".join(reply.text.split())])
    if strategy == "multi":
        prompt = MULTI.format(question=question, n=REWORDINGS)
        reply = await model.generate(prompt, max_tokens=200, temperature=0.0, reference=question)
        lines = (_BULLET.sub("", line).strip().strip('"') for line in reply.text.splitlines())
        return _distinct([question, *[line for line in lines if line][:REWORDINGS]])
    return [question]


async def search_all(retriever: Retriever, queries: Sequence[str], k: int) -> Sequence[Passage]:
    """Return the ``k`` best passages for one query, or for several by reciprocal rank fusion.

    Fused passages have the sum of reciprocal ranks as their score (see ``evalkit.rag.fusion``).
    """
    if len(queries) == 1:
        return await retriever.search(queries[0], k)
    depth = max(k, DEPTH)
    rankings = await asyncio.gather(*(retriever.search(query, depth) for query in queries))
    passages = {passage.id: passage for ranking in reversed(rankings) for passage in reversed(ranking)}
    ids, scores = fuse([[passage.id for passage in ranking] for ranking in rankings], k)
    return [msgspec.structs.replace(passages[id], score=score) for id, score in zip(ids, scores, strict=True)]


def _distinct(queries: Sequence[str]) -> list[str]:
    return [query for query in dict.fromkeys(queries) if query]
