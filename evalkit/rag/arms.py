"""The arms of a RAG task: the passages in the prompt. Runs in several arms are paired over the same samples.

    closed_book   no passages
    retrieved     the k best passages of the pool
    oracle        the documents that answer
    hidden        the documents that answer, at a position among k distractors
    distractors   k passages that do not answer; replies are scored against the answer
    missing       the same passages; the right reply is to abstain
    agent         what the model finds: it searches the pool itself, several times (evalkit.rag.agent)

A task with the fixture ``rag`` (``evalkit.rag.answering``) has all arms; ``evidence`` is for tasks that make
their prompts in another way. Distractors are the best passages of the pool that are not graded relevant, by
rank: hard, and the same in every run. docs/rag-report.md describes what ``evalkit rag-report`` shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, get_args

from msgspec import Struct

from evalkit.errors import SetupError, UsageError
from evalkit.protocols import Retriever
from evalkit.rag.queries import search_all
from evalkit.task import parametrize
from evalkit.types import Answer, Passage, Response, Sample

Arm = Literal["closed_book", "retrieved", "oracle", "hidden", "distractors", "missing", "agent"]
ARMS: tuple[Arm, ...] = get_args(Arm)
WITHHELD = ("distractors", "missing")
DEPTH = 10  # of the ranking for retrieval metrics, also where fewer passages are shown

F = TypeVar("F", bound=Callable[..., Any])


def rag_arms(fn: F) -> F:
    """Run a task in three arms by default: ``@rag_arms`` below ``@task``. ``-p arm=all`` runs all arms."""
    return parametrize(arm=["closed_book", "retrieved", "oracle"])(fn)


class Evidence(Struct, frozen=True):
    """The passages in the prompt of one sample. ``gold`` are the numbers, from 1, of those that answer.

    ``passages`` is None where the arm has none by design; ``ranking`` holds document ids where the retriever
    searched for the evidence. ``facts`` go into the answer's metadata, for the metrics: ``answerable`` (the
    right reply is an answer) and ``withheld`` (the evidence was left out by design).
    """

    passages: tuple[Passage, ...] | None
    ranking: tuple[str, ...] | None = None
    gold: tuple[int, ...] = ()
    facts: dict[str, Any] = {}

    def answer(self, response: Response) -> Answer:
        """Return the answer of a task that asked its model once."""
        return Answer(response, passages=self.passages, ranking=self.ranking, metadata=dict(self.facts))


async def evidence(
    sample: Sample,
    retriever: Retriever,
    arm: Arm,
    *,
    k: int = 5,
    position: int | None = None,
    grade: int = 1,
    queries: Sequence[str] = (),
) -> Evidence:
    """Return the passages of one arm. ``retrieved`` searches for ``queries``, by default the sample's input.

    Documents of at least ``grade`` answer the question; documents with a lower grade are never distractors.
    In the arm ``hidden`` the passages that answer stand together, the first at ``position`` (1 to k + 1).
    Without a position, a hash of the sample's id gives one; all are equally likely. Raises ``SetupError`` for
    a position out of range, and for an arm that needs graded documents where the sample has none.
    The arm ``agent`` needs a model: ``evalkit.rag.agent.gather`` has its passages.
    """
    if arm == "agent":
        raise UsageError("arm=agent: the model searches; await gather(...) of evalkit.rag.agent instead")
    if arm == "closed_book":
        return Evidence(None)
    gold = [document for document, graded in sample.relevance.items() if graded >= grade]
    if not gold and arm != "retrieved" and sample.metadata.get("answerable") is not False:
        raise SetupError(
            f"sample {sample.id!r} does not say which documents answer it (Sample.relevance): "
            f"arm={arm} cannot be made; arms closed_book and retrieved can"
        )
    if arm == "retrieved":
        hits = await search_all(retriever, queries or [sample.input], max(k, DEPTH))
        return shown(hits[:k], gold, tuple(dict.fromkeys(p.document for p in hits)))
    if arm == "oracle":
        return shown(await retriever.get(gold), gold)
    noise = await distractors(sample.input, retriever, k, sample.relevance)
    if arm == "hidden":
        before = _position(sample.id, position, k) - 1
        return shown([*noise[:before], *await retriever.get(gold), *noise[before:]], gold)
    return Evidence(
        tuple(noise), facts={"withheld": True, **({"answerable": False} if arm == "missing" else {})}
    )


async def distractors(query: str, retriever: Retriever, k: int, relevance: dict[str, int]) -> list[Passage]:
    """Return the k best passages for a query whose documents are not relevant; fewer from a small pool."""
    relevant = {document for document, graded in relevance.items() if graded > 0}
    depth = k + len(relevant)
    while True:
        hits = await retriever.search(query, depth)
        kept = [passage for passage in hits if passage.document not in relevant]
        if len(kept) >= k or len(hits) < depth:
            return kept[:k]
        depth *= 2  # the relevant documents came as several chunks each


def shown(
    passages: Sequence[Passage], gold: Sequence[str], ranking: tuple[str, ...] | None = None
) -> Evidence:
    """Return passages as evidence; ``gold`` are the documents that answer."""
    numbers = tuple(n for n, passage in enumerate(passages, 1) if passage.document in gold)
    return Evidence(tuple(passages), ranking, numbers, {"answerable": True} if numbers else {})


def _position(sample_id: str, position: int | None, k: int) -> int:
    if position is None:
        return int.from_bytes(hashlib.sha256(sample_id.encode()).digest()[:8]) % (k + 1) + 1
    if not 1 <= position <= k + 1:
        raise SetupError(f"position={position}: among k={k} distractors there are positions 1 to {k + 1}")
    return position
