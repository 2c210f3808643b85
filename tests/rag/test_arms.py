"""The arms of a RAG comparison over a pool of ten documents, ranked as they are numbered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from evalkit import Model, Retriever, rag_arms
from evalkit.collection.items import items_of
from evalkit.errors import SetupError, UsageError
from evalkit.metrics import (
    citation_coverage,
    citation_precision,
    citation_recall,
    exact_match,
    where_answerable,
)
from evalkit.metrics.abstaining import abstained, abstention
from evalkit.rag.arms import ARMS, Arm, Evidence, evidence
from evalkit.task import task
from evalkit.types import Answer, Passage, Response, Sample

SAMPLE = Sample("s1", "which?", "this", relevance={"d3": 2, "d5": 1})


class Ranked:
    """Finds d0, d1, d2 ... whatever is asked; document d5 comes as three chunks."""

    def __init__(self, size: int = 10) -> None:
        self.queries: list[str] = []
        self.pool = [
            Passage(f"d{n}#{c}" if n == 5 else f"d{n}", f"text {n}", doc_id=f"d{n}" if n == 5 else "")
            for n in range(size)
            for c in range(3 if n == 5 else 1)
        ]

    async def search(self, query: str, k: int) -> Sequence[Passage]:
        self.queries.append(query)
        return self.pool[:k]

    async def get(self, ids: Sequence[str]) -> Sequence[Passage]:
        return [Passage(name, "whole") for name in ids]


async def shown(arm: Arm, **options) -> Evidence:
    return await evidence(SAMPLE, Ranked(), arm, **options)


def documents(made: Evidence) -> list[str]:
    return [passage.document for passage in made.passages or ()]


async def test_closed_book_asks_the_retriever_nothing() -> None:
    retriever = Ranked()
    made = await evidence(SAMPLE, retriever, "closed_book")
    assert (made.passages, made.ranking, made.facts, retriever.queries) == (None, None, {}, [])


async def test_retrieved_shows_k_and_ranks_ten() -> None:
    made = await shown("retrieved", k=4)
    assert documents(made) == ["d0", "d1", "d2", "d3"]
    assert made.ranking == ("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7")  # ten passages of eight documents
    assert (made.gold, made.facts) == ((4,), {"answerable": True})
    assert (await shown("retrieved", k=2)).facts == {}  # nothing that answers: it may go either way


async def test_oracle_shows_what_answers_by_grade() -> None:
    assert documents(await shown("oracle")) == ["d3", "d5"]
    assert documents(await shown("oracle", grade=2)) == ["d3"]
    assert (await shown("oracle")).ranking is None


@pytest.mark.parametrize("arm", ["distractors", "missing"])
async def test_distractors_are_the_best_that_are_not_relevant(arm: Arm) -> None:
    made = await shown(arm, k=6, grade=2)
    assert documents(made) == ["d0", "d1", "d2", "d4", "d6", "d7"]  # d5 is relevant, if less
    assert made.gold == ()
    assert made.facts == {"withheld": True} | ({"answerable": False} if arm == "missing" else {})
    assert len(documents(await shown(arm, k=100))) == 8  # all there are


@pytest.mark.parametrize(
    ("position", "order"),
    [(1, ["d3", "d0", "d1"]), (2, ["d0", "d3", "d1"]), (3, ["d0", "d1", "d3"])],
)
async def test_hidden_stands_at_its_position(position: int, order: list[str]) -> None:
    made = await shown("hidden", k=2, position=position, grade=2)
    assert documents(made) == order
    assert made.gold == (position,)


async def test_hidden_without_a_position_uses_all_alike_and_the_same_again() -> None:
    samples = [Sample(f"q{n}", "?", relevance={"d3": 1}) for n in range(400)]
    made = [await evidence(s, Ranked(), "hidden", k=3) for s in samples]
    again = [await evidence(s, Ranked(), "hidden", k=3) for s in samples]
    counts = Counter(one.gold[0] for one in made)
    assert sorted(counts) == [1, 2, 3, 4]
    assert min(counts.values()) > 70
    assert made == again


async def test_a_position_that_there_is_not_and_unknown_answers_are_refused() -> None:
    with pytest.raises(SetupError, match="positions 1 to 3"):
        await shown("hidden", k=2, position=4)
    bare = Sample("s2", "which?")
    with pytest.raises(SetupError, match="does not say which documents answer"):
        await evidence(bare, Ranked(), "oracle")
    assert documents(await evidence(bare, Ranked(), "retrieved", k=1)) == ["d0"]
    unanswered = Sample("s3", "which?", metadata={"answerable": False})
    assert documents(await evidence(unanswered, Ranked(), "oracle")) == []


async def test_what_applies_where_the_evidence_was_withheld() -> None:
    (right,) = where_answerable(exact_match())
    measured = (
        right,
        abstention(),
        abstained(),
        citation_precision(),
        citation_recall(),
        citation_coverage(),
    )
    scored = {}
    for arm in ("oracle", "distractors", "missing"):
        answer = (await shown(arm)).answer(Response(text="The passages do not answer the question."))
        scored[arm] = [m(SAMPLE, answer) for m in measured]
    assert scored["oracle"] == [0, None, 1, 0, 0, 0]
    assert scored["distractors"] == [0, None, 1, None, None, None]
    assert scored["missing"] == [None, 1, 1, None, None, None]


def test_a_task_of_ones_own_gets_its_arms_in_one_line() -> None:
    @task([SAMPLE], metrics=[exact_match()])
    @rag_arms
    async def mine(
        sample: Sample, model: Model, retriever: Retriever, arm: Arm = "retrieved", k: int = 5
    ) -> Answer:
        return (await evidence(sample, retriever, arm, k=k)).answer(await model.generate("?"))

    def arms(**given: list[str]) -> list[str]:
        return [item.params["arm"] for item in items_of(mine, given, {"retriever": Ranked()})]

    assert arms() == ["closed_book", "retrieved", "oracle"]
    assert arms(arm=["all"]) == list(ARMS)
    assert arms(arm=["missing"]) == ["missing"]
    with pytest.raises(UsageError, match="arm='al'"):
        arms(arm=["al"])
