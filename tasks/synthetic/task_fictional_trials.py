"""Fictional trials: summarize the evidence from a medical literature that no model can have seen.

Drugs, conditions and trials are invented from a seed. All facts are known, so that facts, numbers, direction
and citations are scored exactly, without a judge. Another seed (``-p seed=8``) gives a new benchmark.
``-p difficulty=hard`` adds retracted trials, questions without an answer, and indirect comparisons.

    evalkit run fictional_trials --model baseline:extract
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Arm, Evidence, Info, Model, Passage, Rag, Review, Sample, fixture, rag_arms, task
from evalkit.judge import open_judge
from evalkit.metrics import (
    abstained,
    abstention,
    alce,
    citation_precision,
    citation_recall,
    length,
    mrr,
    ndcg,
    recall,
    rouge,
    where_answerable,
)

from . import questions
from .judge import ExactJudge, TrialReview
from .kinds import Difficulty
from .metrics import EXACT, HARD, answering

PROMPTS = Path(__file__).parent / "prompts"
PASSAGES, MEMORY = (
    {
        kind: (PROMPTS / f"{kind}_{source}.txt").read_text(encoding="utf-8")
        for kind in ("summarize", "compare")
    }
    for source in ("passages", "memory")
)
TrialArm = Literal[Arm, "contradicting"]


@fixture
def corpus(cache_dir: Path, seed: int = 7, topics: int = 40, difficulty: Difficulty = "standard") -> Path:
    """All abstracts of the literature, as JSON Lines."""
    return questions.write_corpus(cache_dir / "corpora", seed, topics, difficulty)


@fixture
async def review(cache_dir: Path, judge: str = "exact") -> AsyncIterator[Review]:
    """The exact judge; ``-p judge=nli:MODEL`` tests another judge where the truth is known."""
    if judge == "exact":
        yield TrialReview(ExactJudge())
        return
    async with open_judge(judge, cache_dir) as opened:
        yield TrialReview(opened)


def samples(
    seed: int = 7, topics: int = 40, difficulty: Difficulty = "standard", arm: TrialArm = "retrieved"
) -> Iterator[Sample]:
    source = questions.contradicted_samples if arm == "contradicting" else questions.samples
    return source(seed, topics, difficulty)


async def contradicted(rag: Rag) -> Evidence:
    """Return the passages of the arm ``oracle``, and those that contradict them."""
    documents = rag.sample.metadata["contradicting"]
    added = {row["id"]: Passage(row["id"], row["text"], row["title"]) for row in documents}
    answering_ids = [name for name, grade in rag.sample.relevance.items() if grade == 2 and name not in added]
    return Evidence((*await rag.retriever.get(answering_ids), *added.values()), facts={"answerable": True})


@task(
    samples,
    metrics=[
        *where_answerable(*EXACT, *HARD),
        answering(citation_precision()),
        answering(citation_recall()),
        *where_answerable(alce("recall", "all")),
        abstention(),
        abstained(),
        *where_answerable(rouge("rougeLsum")),
        recall(5),
        mrr(),
        ndcg(10),
        length(),
    ],
    tags=["biomedical", "rag", "summarization", "synthetic"],
    version=questions.VERSION,
    info=Info(
        "generated from a seed",
        licence="Apache-2.0",
        size="40 questions; any number by -p topics=N",
        ids="the topic's number, from 0: 'topic-000017'",
    ),
)
@rag_arms
async def fictional_trials(sample: Sample, model: Model, rag: Rag, arm: TrialArm = "retrieved") -> Answer:
    """Find the abstracts of invented trials and summarize their evidence, with citations."""
    kind = "compare" if sample.slices.get("kind") == "indirect" else "summarize"
    shown = await contradicted(rag) if arm == "contradicting" else None
    prompts = {"memory": MEMORY[kind], "passages": PASSAGES[kind]}
    return await rag.answer(**prompts, grade=2, cite=False, shown=shown, max_tokens=400)
