"""MIRAGE: medical multiple choice, closed book or with retrieval; the search does not see the options.

Five subsets: MMLU-Med, MedQA-US, MedMCQA, PubMedQA*, BioASQ-Y/N. Data: Xiong et al. 2024,
github.com/Teddy-XiongGZ/MIRAGE, as ``-p data=benchmark.json``; passages to search as ``-p documents=FILE``
(JSON Lines: id, title, text), or the abstracts of a folder ``pubmedqa`` beside the data. In the arm ``agent``
the model searches itself, ``k // searches`` passages each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from evalkit import (
    Answer,
    Info,
    Model,
    Passage,
    Requirements,
    Retriever,
    Sample,
    fixture,
    numbered,
    parametrize,
    task,
)
from evalkit.choice.asking import Constraint, Method, answer_choice, lettered
from evalkit.choice.extract import letter
from evalkit.errors import UsageError
from evalkit.metrics import accuracy, brier, expected_calibration_error
from evalkit.rag.agent import SEARCHES, gather, searched, share
from evalkit.rag.queries import ChoiceQueryStrategy, search_all, write_queries

from . import mirage as data_set
from . import pubmedqa

PROMPTS = Path(__file__).parent / "prompts"
ASK = {
    method: (PROMPTS / f"mirage_{method}.txt").read_text(encoding="utf-8").removesuffix("\n")
    for method in ("generate", "constrained", "likelihood")
}
PASSAGES = (PROMPTS / "mirage_passages.txt").read_text(encoding="utf-8")

Arm = Literal["closed_book", "retrieved", "agent"]
Subset = Literal["all", "mmlu", "medqa", "medmcqa", "pubmedqa", "bioasq"]


@fixture
def corpus(cache_dir: Path, data: Path | None = None, documents: Path | None = None) -> Path:
    """The passages to search: ``documents``, or the abstracts of the PubMedQA folder beside the data."""
    if documents is not None:
        return documents
    beside = Path() if data is None else (data if data.is_dir() else data.parent).resolve().parent
    if not (beside / "pubmedqa").is_dir():
        raise UsageError(
            "mirage[arm=retrieved] needs passages to search: -p documents=FILE (id, title, text)"
        )
    return pubmedqa.write_pool(beside / "pubmedqa", "all", cache_dir / "corpora")


def samples(data: Path | None = None, subset: Subset = "all") -> Iterator[Sample]:
    yield from data_set.questions(data, subset)


@task(
    samples,
    metrics=[accuracy(), brier(), expected_calibration_error()],
    tags=["biomedical", "rag", "choice"],
    version=2,
    info=Info(
        "MIRAGE, Xiong et al. 2024; github.com/Teddy-XiongGZ/MIRAGE",
        licence="public domain (US); each set under its own",
        size="7,663 questions: MMLU-Med 1,089, MedQA-US 1,273, MedMCQA 4,183, PubMedQA* 500, BioASQ-Y/N 618",
        ids="subset and the question's key: 'medqa:0000'",
    ),
    needs=lambda params: Requirements(
        logprobs=params["method"] == "likelihood",
        tools=params["arm"] == "agent",
        **({params["constraint"]: True} if params["method"] == "constrained" else {}),
    ),
)
@parametrize(arm=["closed_book", "retrieved"])
async def mirage(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    arm: Arm = "retrieved",
    k: int = 32,
    method: Method = "generate",
    permute: int | None = None,
    circular: bool = False,
    extractor: str = letter.id,
    constraint: Constraint = "regex",
    max_tokens: int = 1024,
    reasoning_tokens: int = 0,
    query: ChoiceQueryStrategy = "question",
    searches: int = SEARCHES,
) -> Answer:
    """Choose the right option of a medical question."""
    hits, facts = await _passages(sample, model, retriever, arm, k, query, searches)
    before = "" if arm == "closed_book" else PASSAGES.format(passages=numbered(hits))

    def prompt(shown: Sample) -> str:
        return before + ASK[method].format(question=shown.input, options=lettered(shown.choices))

    answer = await answer_choice(
        sample,
        model,
        prompt,
        method=method,
        permute=permute,
        circular=circular,
        extractor=extractor,
        constraint=constraint,
        max_tokens=max_tokens,
        reasoning_tokens=reasoning_tokens,
    )
    if arm == "closed_book":
        return answer
    ranking = tuple(dict.fromkeys(p.document for p in hits))
    metadata = {**answer.metadata, **facts}
    return replace(answer, passages=tuple(hits), ranking=ranking, metadata=metadata)


async def _passages(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    arm: Arm,
    k: int,
    query: ChoiceQueryStrategy,
    searches: int,
) -> tuple[Sequence[Passage], dict[str, Any]]:
    """Return the passages of an arm, and what the answer records of the search."""
    if arm == "closed_book":
        return (), {}
    if arm == "agent":  # as many passages as in the arm retrieved, over all searches together
        found = await gather(sample, model, retriever, k=share(k, searches), searches=searches)
        return found.passages or (), searched(found)
    queries = await write_queries(sample, model, query)
    facts = {} if query == "question" else {"queries": queries}
    return await search_all(retriever, queries, k), facts
