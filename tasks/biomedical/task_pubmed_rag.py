"""PubMedQA as retrieval-augmented summarization: find the abstract, write its conclusion, cite it.

The reference is the authors' own conclusion, which is removed from the abstracts in the pool; the decision
(yes, no, maybe) on the reply's last line is scored apart. Arms:
``closed_book`` shows no passage, ``retrieved`` the k best of the pool, ``oracle`` the question's abstract;
by ``-p arm=all`` also ``hidden`` (that abstract among k others), ``distractors`` and ``missing``.
With ``-p judge=nli:MODEL`` or ``llm:SPEC`` a judge also scores citations and claims.
Data: PubMedQA (Jin et al. 2019), hub id qiaojin/PubMedQA (MIT), or local files by ``-p data=FOLDER``, also
``-p data=ori_pqal.json``.
With local files, collections in folders beside FOLDER join the pool as distractors, and the run says which;
``-p pool=own`` leaves them out. Runs over pools of other content are not ranked together.

The floor: a repetition of the question (``--model baseline:echo``) scores ROUGE-1 27.5, ROUGE-2 11.4, ROUGE-L
21.9 on 700 of these questions. Only a summary above that says anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from evalkit import Answer, Info, Model, Rag, Sample, fixture, rag_arms, task
from evalkit.metrics import length, macro_f1, recall, rouge, where_answerable

from . import pubmedqa
from .measures import ABSTAINING, CITATIONS, CITED, CLAIMS, ROUGE, SEARCH

PROMPTS = Path(__file__).parent / "prompts"
FROM_PASSAGES = (PROMPTS / "conclude_from_passages.txt").read_text(encoding="utf-8")
FROM_MEMORY = (PROMPTS / "conclude_from_memory.txt").read_text(encoding="utf-8")


@fixture
def corpus(cache_dir: Path, data: Path | None = None, pool: Literal["all", "own"] = "all") -> Path:
    """All abstracts to search, as JSON Lines: the questions' own; with pool=all, other folders' too."""
    return pubmedqa.write_pool(data, pool, cache_dir / "corpora")


def samples(data: Path | None = None) -> Iterator[Sample]:
    for row in pubmedqa.questions(data):
        yield Sample(
            row.id,
            row.question,
            row.conclusion,
            relevance={row.document: 1},
            slices={"decision": row.decision},
            metadata={"exact_answer": row.decision},
        )


@task(
    samples,
    metrics=[
        *where_answerable(*ROUGE, rouge("rougeLsum")),
        *where_answerable(pubmedqa.decision_accuracy, macro_f1(pubmedqa.DECISIONS)),
        recall(1),
        recall(5),
        *SEARCH,
        *CITED,
        *ABSTAINING,
        length(),
        *where_answerable(*CITATIONS, *CLAIMS),
    ],
    tags=["biomedical", "rag", "summarization"],
    version=3,
    info=Info(
        "PubMedQA, Jin et al. 2019; hub id qiaojin/PubMedQA",
        licence="MIT",
        size="1,000 questions, 500 of them the official test set",
        ids="the question's PMID: '21645374'",
    ),
)
@rag_arms
async def pubmed_rag(sample: Sample, model: Model, rag: Rag) -> Answer:
    """Find a PubMed abstract and write its conclusion, with citations."""
    right = sample.metadata.get("exact_answer")
    answer = await rag.answer(
        memory=FROM_MEMORY,
        passages=FROM_PASSAGES,
        max_tokens=256,
        ending=f"Decision: {right}" if right else "",
        read=lambda reply: pubmedqa.read_decision(reply)[0],
    )
    _, decision = pubmedqa.read_decision(answer.response.text if answer.response else "")
    return replace(answer, metadata={**answer.metadata, "exact_answer": [decision] if decision else []})
