"""PubMedQA as retrieval-augmented summarization: find the abstract, write its conclusion, cite it.

The reference is the authors' own conclusion, which is cut out of the abstracts in the pool. Arms:
``closed_book`` shows no passage, ``retrieved`` the k best of the pool, ``oracle`` the question's abstract;
by ``-p arm=all`` also ``hidden`` (that abstract among k others), ``distractors`` and ``missing``.
``-p judge=nli:MODEL`` or ``llm:SPEC`` has citations and claims weighed too.
Data: PubMedQA (Jin et al. 2019), hub id qiaojin/PubMedQA (MIT), or local files by ``-p data=FOLDER``.
With local files, collections in folders beside FOLDER join the pool as distractors; ``-p pool=own`` leaves
them out.

Know the floor: to repeat the question (``--model baseline:echo``) scores ROUGE-1 27.5, ROUGE-2 11.4, ROUGE-L
21.9 on 700 of these questions. A summary must beat that to have said anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Retriever, Sample, cited, evidence, fixture, numbered, rag_arms, task
from evalkit.judge.review import Review
from evalkit.metrics import (
    abstained,
    abstention,
    alce,
    biogen,
    citation_coverage,
    citation_precision,
    citation_recall,
    length,
    mrr,
    ndcg,
    ragchecker,
    recall,
    rouge,
    where_answerable,
)
from evalkit.metrics.abstaining import ABSTENTION
from evalkit.rag.arms import Arm
from evalkit.rag.queries import QueryRewritingRetriever, QueryStrategy

from . import pubmedqa

PROMPTS = Path(__file__).parent / "prompts"
FROM_PASSAGES = (PROMPTS / "conclude_from_passages.txt").read_text(encoding="utf-8")
WEIGHED = [
    alce("recall"),
    alce("precision"),
    biogen("coverage"),
    biogen("support"),
    biogen("contradict"),
    ragchecker("f1"),
    ragchecker("claim_recall"),
    ragchecker("context_utilization"),
    ragchecker("faithfulness"),
    ragchecker("hallucination"),
]
FROM_MEMORY = (PROMPTS / "conclude_from_memory.txt").read_text(encoding="utf-8")


@fixture
def corpus(cache_dir: Path, data: Path | None = None, pool: Literal["all", "own"] = "all") -> Path:
    """All abstracts to search, as JSONL: the questions' own and, with pool=all, those in folders beside."""
    return pubmedqa.write_pool(data, pool, cache_dir / "corpora")


def samples(data: Path | None = None) -> Iterator[Sample]:
    for row in pubmedqa.questions(data):
        yield Sample(
            row.id,
            row.question,
            row.conclusion,
            relevance={row.document: 1},
            slices={"decision": row.decision},
        )


@task(
    samples,
    metrics=[
        *where_answerable(rouge("rouge1"), rouge("rouge2"), rouge("rougeL"), rouge("rougeLsum")),
        recall(1),
        recall(5),
        recall(10),
        mrr(),
        ndcg(10),
        citation_precision(),
        citation_recall(),
        citation_coverage(),
        abstention(),
        abstained(),
        length(),
        *where_answerable(*WEIGHED),
    ],
    tags=["biomedical", "rag", "summarization"],
    version=2,
    info=Info("PubMedQA, Jin et al. 2019; hub id qiaojin/PubMedQA", licence="MIT", size="1,000 questions"),
)
@rag_arms
async def pubmed_rag(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    review: Review,
    arm: Arm = "retrieved",
    k: int = 5,
    position: int | None = None,
    query: QueryStrategy = "question",
) -> Answer:
    """Write the cited conclusion of a PubMed abstract that has to be found first."""
    asked = QueryRewritingRetriever(retriever, sample, model, query if arm == "retrieved" else "question")
    shown = await evidence(sample, asked, arm, k=k, position=position)
    if shown.passages is None:
        response = await model.generate(FROM_MEMORY.format(question=sample.input), max_tokens=256)
        return await review(sample, shown.answer(response), ("claims",))
    prompt = FROM_PASSAGES.format(passages=numbered(shown.passages), question=sample.input)
    perfect = ABSTENTION if arm == "missing" else cited(sample.targets[0], shown.gold)
    answer = shown.answer(await model.generate(prompt, max_tokens=256, reference=perfect))
    return asked.noted(await review(sample, answer, ("citations", "claims")))
