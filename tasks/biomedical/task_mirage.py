"""MIRAGE: medical multiple choice, closed book or with retrieval; the search does not see the options.

Five subsets: MMLU-Med, MedQA-US, MedMCQA, PubMedQA*, BioASQ-Y/N. Data: Xiong et al. 2024,
github.com/Teddy-XiongGZ/MIRAGE, as ``-p data=benchmark.json``; passages to search as ``-p documents=FILE``
(JSON Lines: id, title, text), or the abstracts of a folder ``pubmedqa`` beside the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from evalkit import Answer, Info, Model, Requirements, Retriever, Sample, fixture, numbered, parametrize, task
from evalkit.choice.asking import Constraint, Method, answer_choice, lettered
from evalkit.choice.extract import letter
from evalkit.errors import UsageError
from evalkit.metrics import accuracy, brier, expected_calibration_error
from evalkit.rag.queries import ChoiceQueryStrategy, search_all, write_queries

from . import mirage as data_set
from . import pubmedqa

PROMPTS = Path(__file__).parent / "prompts"
ASK = {
    method: (PROMPTS / f"mirage_{method}.txt").read_text(encoding="utf-8").removesuffix("\n")
    for method in ("generate", "constrained", "likelihood")
}
PASSAGES = (PROMPTS / "mirage_passages.txt").read_text(encoding="utf-8")

Arm = Literal["closed_book", "retrieved"]
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
) -> Answer:
    """Choose the right option of a medical question."""
    queries = await write_queries(sample, model, query) if arm == "retrieved" else []
    hits = await search_all(retriever, queries, k) if queries else ()
    before = PASSAGES.format(passages=numbered(hits)) if queries else ""

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
    if not queries:
        return answer
    ranking = tuple(dict.fromkeys(p.document for p in hits))
    facts = {} if query == "question" else {"queries": queries}
    metadata = {**answer.metadata, **facts}
    return replace(answer, passages=tuple(hits), ranking=ranking, metadata=metadata)
