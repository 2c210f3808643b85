"""Fictional trials: summarize the evidence from a medical literature that no model can have seen.

Drugs, conditions and trials are invented from a seed. All facts are known, so that facts, numbers, direction
and citations are scored exactly, without a judge. Another seed (``-p seed=8``) is a fresh benchmark.

    evalkit run fictional_trials --model baseline:extract
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from evalkit import Answer, Info, Model, Retriever, Sample, evidence, fixture, numbered, rag_arms, task
from evalkit.arms import Arm
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

from . import questions
from .judge import ExactJudge, TrialReview
from .metrics import EXACT, answering

PROMPTS = Path(__file__).parent / "prompts"
FROM_PASSAGES = (PROMPTS / "summarize_passages.txt").read_text(encoding="utf-8")
FROM_MEMORY = (PROMPTS / "summarize_memory.txt").read_text(encoding="utf-8")


@fixture
def corpus(cache_dir: Path, seed: int = 7, topics: int = 40) -> Path:
    """All abstracts of the literature, as JSONL."""
    return questions.write_corpus(cache_dir / "corpora", seed, topics)


@fixture
async def review(cache_dir: Path, judge: str = "exact") -> AsyncIterator[Review]:
    """The exact judge; another (``-p judge=nli:MODEL``) to see how it does where the truth is known."""
    if judge == "exact":
        yield TrialReview(ExactJudge())
        return
    async with open_judge(judge, cache_dir) as made:
        yield TrialReview(made)


def samples(seed: int = 7, topics: int = 40) -> Iterator[Sample]:
    return questions.samples(seed, topics)


@task(
    samples,
    metrics=[
        *where_answerable(*EXACT), answering(citation_precision()), answering(citation_recall()),
        *where_answerable(alce("recall")), abstention(), abstained(), *where_answerable(rouge("rougeLsum")),
        recall(5), mrr(), ndcg(10), length(),
    ],
    tags=["biomedical", "rag", "summarization", "synthetic"],
    version=questions.VERSION,
    info=Info("generated from a seed", licence="Apache-2.0", size="40 questions; any number by -p topics=N"),
)  # fmt: skip
@rag_arms
async def fictional_trials(
    sample: Sample, model: Model, retriever: Retriever, review: Review,
    arm: Arm = "retrieved", k: int = 5, position: int | None = None,
) -> Answer:  # fmt: skip
    """Summarize what invented trials found, with citations, from abstracts that have to be found first."""
    shown = await evidence(sample, retriever, arm, k=k, position=position, grade=2)
    if shown.passages is None:
        return shown.answer(await model.generate(FROM_MEMORY.format(question=sample.input), max_tokens=400))
    prompt = FROM_PASSAGES.format(passages=numbered(shown.passages), question=sample.input)
    perfect = ABSTENTION if arm == "missing" else None
    response = await model.generate(prompt, max_tokens=400, reference=perfect)
    return await review(sample, shown.answer(response))
