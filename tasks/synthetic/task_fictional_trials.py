"""Fictional trials: summarize the evidence from a medical literature that no model can have seen.

Drugs, conditions and trials are invented from a seed. All facts are known, so that facts, numbers, direction
and citations are scored exactly, without a judge. Another seed (``-p seed=8``) is a fresh benchmark.

    evalkit run fictional_trials --model baseline:extract
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Retriever, Sample, fixture, numbered, parametrize, task
from evalkit.judge import open_judge
from evalkit.judge.review import Review
from evalkit.metrics import alce, citation_precision, citation_recall, length, mrr, ndcg, recall, rouge

from . import questions
from .judge import ExactJudge, TrialReview
from .metrics import EXACT, answering

PROMPTS = Path(__file__).parent / "prompts"
FROM_PASSAGES = (PROMPTS / "summarize_passages.txt").read_text(encoding="utf-8")
FROM_MEMORY = (PROMPTS / "summarize_memory.txt").read_text(encoding="utf-8")
DEPTH = 10  # what retrieval metrics look at, however few passages are shown


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
        *EXACT, answering(citation_precision()), answering(citation_recall()), alce("recall"),
        rouge("rougeLsum"), recall(5), mrr(), ndcg(10), length(),
    ],
    tags=["biomedical", "rag", "summarization", "synthetic"],
    version=questions.VERSION,
    info=Info("generated from a seed", licence="Apache-2.0", size="40 questions; any number by -p topics=N"),
)  # fmt: skip
@parametrize(arm=["closed_book", "retrieved", "oracle"])
async def fictional_trials(
    sample: Sample, model: Model, retriever: Retriever, review: Review,
    arm: Literal["closed_book", "retrieved", "oracle"] = "retrieved", k: int = 5,
) -> Answer:  # fmt: skip
    """Summarize what invented trials found, with citations, from abstracts that have to be found first."""
    if arm == "closed_book":
        return Answer(await model.generate(FROM_MEMORY.format(question=sample.input), max_tokens=400))
    if arm == "oracle":
        wanted = [trial for trial, grade in sample.relevance.items() if grade == 2]
        shown, ranking = await retriever.get(wanted), None
    else:
        found = await retriever.search(sample.input, max(k, DEPTH))
        shown, ranking = found[:k], tuple(dict.fromkeys(p.document for p in found))
    prompt = FROM_PASSAGES.format(passages=numbered(shown), question=sample.input)
    response = await model.generate(prompt, max_tokens=400)
    return await review(sample, Answer(response, passages=tuple(shown), ranking=ranking))
