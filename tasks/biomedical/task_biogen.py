"""TREC BioGen: answer a biomedical question in sentences that cite PubMed abstracts by PMID.

The reply's PMIDs are read as in the track (at most three of each list) and mapped to the passages of the
prompt. With a judge (``-p judge=nli:MODEL`` or ``llm:SPEC``) the track's citation coverage, support and
contradiction are scored; without one, citations by the judgements (``*qrels*`` beside the topics). Data:
the track's topics (id, topic, question, narrative) by ``-p data=FOLDER``; a corpus of any layout with PMIDs
as ids, such as PubMed's baseline files, by ``-p documents=PATH``. The optional ``answer`` of a topic is
the reference of ROUGE. In the arm ``agent`` the model searches first, then gets the same prompt with what
it found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from evalkit import Answer, Info, Model, Retriever, Review, Sample, UsageError, fixture, parametrize, task
from evalkit.metrics import citation_coverage, citation_precision, copy_rate, length, ndcg, recall, rouge
from evalkit.rag.agent import SEARCHES, gather, needs_tools, searched
from evalkit.rag.arms import evidence
from evalkit.rag.prompts import cited, numbered

from . import biogen as reading
from .measures import BIOGEN

PROMPT = (Path(__file__).parent / "prompts" / "biogen.txt").read_text(encoding="utf-8")


@fixture
def corpus(data: Path | None = None, documents: Path | None = None) -> Path:
    if documents is None and data is not None and data.is_dir():
        documents = next(iter(sorted(data.glob("documents.jsonl*"))), None)
    if documents is None:
        raise UsageError("biogen needs abstracts to search, with PMIDs as ids: -p documents=PATH")
    return documents


@task(
    reading.topics,
    metrics=[
        *BIOGEN,
        citation_coverage(),
        citation_precision(),
        recall(10),
        ndcg(10),
        rouge("rougeL"),
        copy_rate(),
        length(),
    ],
    tags=["biomedical", "rag", "citations"],
    needs=needs_tools,
    info=Info(
        "TREC BioGen, Gupta et al. 2024; trec-biogen.github.io",
        licence="NIST's terms for TREC",
        size="65 topics (2024)",
        ids="the topic's id: '116'",
    ),
)
@parametrize(arm=["retrieved"])
async def biogen(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    review: Review,
    arm: Literal["retrieved", "oracle", "agent"] = "retrieved",
    k: int = 10,
    searches: int = SEARCHES,
) -> Answer:
    """Answer a biomedical question with citations of PubMed abstracts."""
    if arm == "agent":
        shown = await gather(sample, model, retriever, k=k, searches=searches)
    else:
        shown = await evidence(sample, retriever, arm, k=k)
    passages = shown.passages or ()
    pmids = [reading.pmid(passage) for passage in passages]
    prompt = PROMPT.format(
        passages=numbered(passages, pmids), question=sample.input, narrative=sample.metadata["narrative"]
    )
    perfect = cited(sample.targets[0], [pmids[n - 1] for n in shown.gold])
    response = await model.generate(prompt, max_tokens=500, reference=perfect)
    text = reading.marked(response.text, passages)
    answer = Answer(response, text=text, passages=passages, ranking=shown.ranking, metadata=searched(shown))
    return await review(sample, answer)
