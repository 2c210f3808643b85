"""Fictional trials: summarize the evidence from a medical literature that no model can have seen.

Drugs, conditions and trials are invented from a seed. All facts are known, so that facts, numbers, direction
and citations are scored exactly, without a judge. Another seed (``-p seed=8``) is a fresh benchmark.
``-p difficulty=hard`` adds retracted trials, questions that nothing answers, and indirect comparisons.

    evalkit run fictional_trials --model baseline:extract
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

from evalkit import (
    Answer,
    Info,
    Model,
    Passage,
    Retriever,
    Sample,
    evidence,
    fixture,
    numbered,
    rag_arms,
    task,
)
from evalkit.judge import open_judge
from evalkit.judge.review import Review
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
from evalkit.metrics.abstaining import ABSTENTION
from evalkit.rag.arms import Arm, Evidence
from evalkit.rag.queries import QueryRewritingRetriever, QueryStrategy

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
    """All abstracts of the literature, as JSONL."""
    return questions.write_corpus(cache_dir / "corpora", seed, topics, difficulty)


@fixture
async def review(cache_dir: Path, judge: str = "exact") -> AsyncIterator[Review]:
    """The exact judge; another (``-p judge=nli:MODEL``) to see how it does where the truth is known."""
    if judge == "exact":
        yield TrialReview(ExactJudge())
        return
    async with open_judge(judge, cache_dir) as made:
        yield TrialReview(made)


def samples(
    seed: int = 7, topics: int = 40, difficulty: Difficulty = "standard", arm: TrialArm = "retrieved"
) -> Iterator[Sample]:
    made = questions.contradicted_samples if arm == "contradicting" else questions.samples
    return made(seed, topics, difficulty)


async def show(sample: Sample, retriever: Retriever, arm: TrialArm, k: int, position: int | None) -> Evidence:
    """The passages of an arm; ``contradicting``: those of the oracle, and what contradicts them."""
    if arm != "contradicting":
        return await evidence(sample, retriever, arm, k=k, position=position, grade=2)
    added = [Passage(d["id"], d["text"], d["title"]) for d in sample.metadata["contradicting"]]
    known = [name for name, grade in sample.relevance.items() if grade == 2]
    there = await retriever.get([name for name in known if name not in {p.id for p in added}])
    return Evidence((*there, *added), facts={"answerable": True})


@task(
    samples,
    metrics=[
        *where_answerable(*EXACT, *HARD),
        answering(citation_precision()),
        answering(citation_recall()),
        *where_answerable(alce("recall")),
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
    info=Info("generated from a seed", licence="Apache-2.0", size="40 questions; any number by -p topics=N"),
)
@rag_arms
async def fictional_trials(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    review: Review,
    arm: TrialArm = "retrieved",
    k: int = 5,
    position: int | None = None,
    query: QueryStrategy = "question",
) -> Answer:
    """Summarize what invented trials found, with citations, from abstracts that have to be found first."""
    asked = QueryRewritingRetriever(retriever, sample, model, query if arm == "retrieved" else "question")
    shown = await show(sample, asked, arm, k, position)
    wanted = "compare" if sample.slices.get("kind") == "indirect" else "summarize"
    if shown.passages is None:
        prompt = MEMORY[wanted].format(question=sample.input)
        return shown.answer(await model.generate(prompt, max_tokens=400))
    prompt = PASSAGES[wanted].format(passages=numbered(shown.passages), question=sample.input)
    perfect = ABSTENTION if arm == "missing" else None
    response = await model.generate(prompt, max_tokens=400, reference=perfect)
    return await review(sample, asked.noted(shown.answer(response)))
