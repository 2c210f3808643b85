"""PubMedQA as retrieval-augmented summarization: find the abstract, write its conclusion, cite it.

The reference is the authors' own conclusion, which is cut out of the abstracts in the pool. Arms:
``closed_book`` shows no passage, ``retrieved`` the k best of the pool, ``oracle`` the question's abstract.
Data: PubMedQA (Jin et al. 2019), hub id qiaojin/PubMedQA (MIT), or local files by ``-p data=FOLDER``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Retriever, Sample, cited, fixture, numbered, parametrize, task
from evalkit.metrics import (
    citation_coverage,
    citation_precision,
    citation_recall,
    length,
    mrr,
    ndcg,
    recall,
    rouge,
)

from . import pubmedqa

PROMPTS = Path(__file__).parent / "prompts"
FROM_PASSAGES = (PROMPTS / "conclude_from_passages.txt").read_text(encoding="utf-8")
FROM_MEMORY = (PROMPTS / "conclude_from_memory.txt").read_text(encoding="utf-8")
DEPTH = 10  # what retrieval metrics look at, however few passages are shown


@fixture
def corpus(cache_dir: Path, data: Path | None = None, pool: Literal["all", "own"] = "all") -> Path:
    """All abstracts to search, as JSONL: the questions' own and, with pool=all, those in folders beside."""
    return pubmedqa.write_pool(data, pool, cache_dir / "corpora")


def samples(data: Path | None = None) -> Iterator[Sample]:
    for row in pubmedqa.questions(data):
        yield Sample(
            row.id, row.question, row.conclusion,
            relevance={row.document: 1}, slices={"decision": row.decision},
        )  # fmt: skip


@task(
    samples,
    metrics=[
        rouge("rouge1"), rouge("rouge2"), rouge("rougeL"), rouge("rougeLsum"),
        recall(1), recall(5), recall(10), mrr(), ndcg(10),
        citation_precision(), citation_recall(), citation_coverage(), length(),
    ],
    tags=["biomedical", "rag", "summarization"],
    info=Info("PubMedQA, Jin et al. 2019; hub id qiaojin/PubMedQA", licence="MIT", size="1,000 questions"),
)  # fmt: skip
@parametrize(arm=["closed_book", "retrieved", "oracle"])
async def pubmed_rag(
    sample: Sample, model: Model, retriever: Retriever,
    arm: Literal["closed_book", "retrieved", "oracle"] = "retrieved", k: int = 5,
) -> Answer:  # fmt: skip
    """Write the cited conclusion of a PubMed abstract that has to be found first."""
    if arm == "closed_book":
        return Answer(await model.generate(FROM_MEMORY.format(question=sample.input), max_tokens=256))
    if arm == "oracle":
        shown, ranking = await retriever.get(list(sample.relevance)), None
    else:
        found = await retriever.search(sample.input, max(k, DEPTH))
        shown, ranking = found[:k], tuple(dict.fromkeys(p.document for p in found))
    prompt = FROM_PASSAGES.format(passages=numbered(shown), question=sample.input)
    gold = [n for n, passage in enumerate(shown, 1) if sample.relevance.get(passage.document)]
    response = await model.generate(prompt, max_tokens=256, reference=cited(sample.targets[0], gold))
    return Answer(response, passages=tuple(shown), ranking=ranking)
