"""Retrievers by name, from the entry points ``evalkit.retrievers``. The core knows their protocol only."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError, did_you_mean
from evalkit.types import Progress


def retriever_class(name: str) -> Any:
    """The retriever class of that name. Raises ``UsageError`` for an unknown name or a missing extra."""
    points = {p.name: p for p in importlib.metadata.entry_points(group="evalkit.retrievers")}
    if name not in points:
        raise UsageError(
            f"no retriever {name!r}.{did_you_mean(name, points)} Known: {', '.join(sorted(points))}."
        )
    try:
        return points[name].load()
    except ModuleNotFoundError as error:
        raise UsageError(
            f"retriever {name!r} needs the package {error.name!r}: pip install 'evalkit[rag]'"
        ) from None


def open_retriever(name: str, corpus: Path, home: Path, *, progress: Progress, **options: Any) -> Any:
    """A retriever over a corpus, its index kept under ``home``. Cheap: the index is built when first used.

    The folder is named by corpus path, retriever and ``options``, so that each combination has its own.
    """
    place = hashlib.sha256(repr((str(corpus.resolve()), sorted(options.items()))).encode()).hexdigest()[:12]
    directory = home / f"{corpus.stem}-{place}-{name}"
    return retriever_class(name)(corpus, directory, progress=progress, **options)
