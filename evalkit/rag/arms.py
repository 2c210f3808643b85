"""What a RAG task shows its model: the arms of one comparison, paired over the same samples.

``closed_book`` no passage; ``retrieved`` the k best of the pool; ``oracle`` the documents that answer;
``hidden`` these among k distractors, at a position; ``distractors`` k passages that do not answer, scored
against the answer all the same; ``missing`` the same passages, where the right reply is to abstain.

A task asks for the fixture ``rag`` (``evalkit.rag.answering``) and has all of them; ``evidence`` is for tasks
that make their prompts in another way. Distractors are the best passages of the pool that are not graded
relevant, by rank: hard ones, and the same in every run. What ``evalkit rag-report`` makes of the arms is in
docs/rag-report.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, get_args

from msgspec import Struct

from evalkit.errors import SetupError
from evalkit.protocols import Retriever
from evalkit.rag.queries import search_all
from evalkit.task import parametrize
from evalkit.types import Answer, Passage, Response, Sample

Arm = Literal["closed_book", "retrieved", "oracle", "hidden", "distractors", "missing"]
ARMS: tuple[Arm, ...] = get_args(Arm)
WITHHELD = ("distractors", "missing")
DEPTH = 10  # what retrieval metrics look at, however few passages are shown

F = TypeVar("F", bound=Callable[..., Any])


def rag_arms(fn: F) -> F:
    """``@rag_arms`` beside ``@task``: three arms by default; others by ``-p arm=NAME``, or ``-p arm=all``."""
    return parametrize(arm=["closed_book", "retrieved", "oracle"])(fn)


class Evidence(Struct, frozen=True):
    """What one sample's model is shown. ``gold`` are the numbers, from 1, of the passages that answer.

    ``passages`` is None where the arm shows none by design; ``ranking`` holds document ids where the
    retriever was asked for the evidence. ``facts`` go with the answer: ``answerable`` says to the metrics
    whether the right reply is an answer, ``withheld`` that the evidence was kept back by design.
    """

    passages: tuple[Passage, ...] | None
    ranking: tuple[str, ...] | None = None
    gold: tuple[int, ...] = ()
    facts: dict[str, Any] = {}

    def answer(self, response: Response) -> Answer:
        """The answer of a task that asked its model once."""
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

    Documents of at least ``grade`` answer the question; others that are graded are never distractors. In
    the arm ``hidden`` those that answer stand together, the first at ``position`` from 1 to k + 1; without
    one, each sample draws its own from its id, all positions alike often. Raises ``SetupError`` for a
    position that there is not, and for an arm that needs to know what answers a sample that does not say.
    """
    if arm == "closed_book":
        return Evidence(None)
    gold = [document for document, graded in sample.relevance.items() if graded >= grade]
    if not gold and arm != "retrieved" and sample.metadata.get("answerable") is not False:
        raise SetupError(
            f"sample {sample.id!r} does not say which documents answer it (Sample.relevance): "
            f"arm={arm} cannot be made; arms closed_book and retrieved can"
        )
    if arm == "retrieved":
        found = await search_all(retriever, queries or [sample.input], max(k, DEPTH))
        return _shown(found[:k], gold, tuple(dict.fromkeys(p.document for p in found)))
    if arm == "oracle":
        return _shown(await retriever.get(gold), gold)
    noise = await distractors(sample.input, retriever, k, sample.relevance)
    if arm == "hidden":
        before = _place(sample.id, position, k) - 1
        return _shown([*noise[:before], *await retriever.get(gold), *noise[before:]], gold)
    return Evidence(
        tuple(noise), facts={"withheld": True, **({"answerable": False} if arm == "missing" else {})}
    )


async def distractors(query: str, retriever: Retriever, k: int, relevance: dict[str, int]) -> list[Passage]:
    """The k best passages for a query whose documents are not graded relevant; fewer from a small pool."""
    relevant = {document for document, graded in relevance.items() if graded > 0}
    depth = k + len(relevant)
    while True:
        found = await retriever.search(query, depth)
        kept = [passage for passage in found if passage.document not in relevant]
        if len(kept) >= k or len(found) < depth:
            return kept[:k]
        depth *= 2  # the relevant documents came as several chunks each


def _shown(
    passages: Sequence[Passage], gold: Sequence[str], ranking: tuple[str, ...] | None = None
) -> Evidence:
    numbers = tuple(n for n, passage in enumerate(passages, 1) if passage.document in gold)
    return Evidence(tuple(passages), ranking, numbers, {"answerable": True} if numbers else {})


def _place(name: str, position: int | None, k: int) -> int:
    if position is None:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % (k + 1) + 1
    if not 1 <= position <= k + 1:
        raise SetupError(f"position={position}: among k={k} distractors there are positions 1 to {k + 1}")
    return position
