"""The fixtures that every task file can use without defining them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from evalkit.agent import UserModel
from evalkit.model import Model
from evalkit.protocols import Retriever
from evalkit.rag.agent import SEARCHES, needs_tools
from evalkit.rag.answering import Rag, Reviewer
from evalkit.rag.arms import Arm
from evalkit.rag.queries import QueryStrategy
from evalkit.rag.retrievers import open_retriever
from evalkit.task import fixture
from evalkit.types import Progress, Requirements, Sample
from evalkit.util.paths import cache_dir as _cache_dir
from evalkit.util.progress import for_stream

if TYPE_CHECKING:
    from evalkit.judge.review import Review


@fixture
def cache_dir() -> Path:
    """The folder of downloads, corpora, embeddings and indexes: ``EVALKIT_CACHE`` or the user's cache."""
    return _cache_dir()


@fixture
def progress() -> Progress:
    """The progress bars of long work. A command replaces this value, so that its bars share a display."""
    return for_stream()


@fixture
def pictures() -> bool:
    """Whether samples must bring their pictures: False where ``evalkit score`` reads stored replies."""
    return True


@fixture(when=lambda params: params.get("arm") != "closed_book")
async def retriever(
    corpus: Any,
    cache_dir: Path,
    progress: Progress,
    search: str = "faiss",
    encoder: str | None = None,
    chunk_words: int | None = None,
) -> AsyncIterator[Retriever]:
    """A retriever over the task's fixture ``corpus`` (see docs/corpora.md).

    The index is built at the first search. The value is None in the arm ``closed_book``.
    """
    options = {"encoder": encoder, "chunk_words": chunk_words}
    chosen = {name: value for name, value in options.items() if value is not None}
    opened = open_retriever(search, Path(corpus), cache_dir / "indexes", progress=progress, **chosen)
    yield opened
    await opened.close()


@fixture
async def review(
    cache_dir: Path, judge: str = "none", claims: Literal["sentences", "judge"] = "sentences"
) -> AsyncIterator[Review]:
    """The review of answers by a judge: ``await review(sample, answer)``. See ``evalkit.judge``.

    ``judge`` is ``nli:MODEL`` or ``llm:SPEC``; without a judge, answers stay unchanged.
    """
    from evalkit.judge import open_judge
    from evalkit.judge.review import Review

    if judge == "none":
        yield Review(None, claims)
        return
    async with open_judge(judge, cache_dir) as opened:
        yield Review(opened, claims)


@fixture
async def user_model(cache_dir: Path, user: str = "none") -> AsyncIterator[UserModel]:
    """The model that plays the user of a conversation, by its spec: ``-p user=SPEC``. See docs/agents.md.

    ``user_model(system)`` is the user of one sample, for ``converse(user=...)``.
    """
    if user == "none":
        yield UserModel(None)
        return
    from evalkit.models.connect import connect_beside

    responses = cache_dir / "users.db"
    async with connect_beside(user, "the simulated user", Requirements(), responses) as (name, model):
        yield UserModel(model, name)


@fixture(scope="sample", needs=needs_tools)
def rag(
    sample: Sample,
    model: Model,
    retriever: Retriever,
    review: Reviewer,
    arm: Arm = "retrieved",
    k: int = 5,
    position: int | None = None,
    query: QueryStrategy = "question",
    searches: int = SEARCHES,
) -> Rag:
    """The sample, answered in the arm of the run: ``await rag.answer(memory=..., passages=...)``.

    ``k`` is the number of passages shown, or of distractors; ``position``, from 1, the place of the evidence
    in the arm ``hidden``; ``query`` says how the arm ``retrieved`` writes queries; ``searches`` is the most
    searches of the arm ``agent``. See docs/rag-report.md.
    """
    return Rag(sample, model, retriever, review, arm, k, position, query, searches)
