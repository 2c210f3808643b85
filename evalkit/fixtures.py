"""The fixtures that every task file finds without defining them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from evalkit.paths import cache_dir as _cache_dir
from evalkit.progress import for_stream
from evalkit.retrieval import open_retriever
from evalkit.task import fixture
from evalkit.types import Progress, Retriever


@fixture
def cache_dir() -> Path:
    """Where downloads, corpora, embeddings and indexes are kept: ``EVALKIT_CACHE`` or the user's cache."""
    return _cache_dir()


@fixture
def progress() -> Progress:
    """Where long work reports. A command puts its own in place of this one: several bars share a display."""
    return for_stream()


@fixture
async def retriever(
    corpus: Any,
    cache_dir: Path,
    progress: Progress,
    search: str = "faiss",
    encoder: str | None = None,
    chunk_words: int | None = None,
) -> AsyncIterator[Retriever]:
    """An index over the task's own fixture ``corpus`` (path of a JSONL file), built when first searched."""
    options = {"encoder": encoder, "chunk_words": chunk_words}
    given = {name: value for name, value in options.items() if value is not None}
    made = open_retriever(search, Path(corpus), cache_dir / "indexes", progress=progress, **given)
    yield made
    await made.close()
