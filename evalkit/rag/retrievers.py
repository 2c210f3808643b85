"""Retrievers by name, from the entry points ``evalkit.retrievers``. The core knows their contract only."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from evalkit.errors import UsageError, did_you_mean
from evalkit.extras import not_installed
from evalkit.protocols import Retriever
from evalkit.types import Progress


def retriever_class(name: str) -> type[Retriever]:
    """Return the retriever class of that name.

    Raises ``UsageError`` for an unknown name, a missing extra, or a class that is no ``Retriever``.
    """
    points = {p.name: p for p in importlib.metadata.entry_points(group="evalkit.retrievers")}
    if name not in points:
        raise UsageError(
            f"no retriever {name!r}.{did_you_mean(name, points)} Known: {', '.join(sorted(points))}."
        )
    try:
        found = points[name].load()
    except ModuleNotFoundError as error:
        raise not_installed(error, f"retriever {name!r}") or UsageError(
            f"retriever {name!r} needs the package {error.name!r}, which is not installed"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Retriever)):
        raise UsageError(
            f"retriever {name!r}: {points[name].value} must be a subclass of evalkit.protocols.Retriever "
            "(see docs/plug-ins.md)"
        )
    return found


def read_search(text: str) -> tuple[str, dict[str, str]]:
    """Name and options out of ``bm25?k1=1.2&chunk_words=100``. Raises ``UsageError`` for another form."""
    name, mark, query = text.partition("?")
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if mark else []
    except ValueError:
        raise UsageError(f"{text!r}: write options as {name}?option=value&option=value") from None
    return name, dict(options)


def open_retriever(search: str, corpus: Path, home: Path, *, progress: Progress, **options: Any) -> Retriever:
    """A retriever over a corpus, its index kept under ``home``. Cheap: the index is built when first used.

    ``search`` is its name, maybe with options of its own (see ``read_search``). The folder is named by corpus
    path, retriever and those options that the index depends on, so that each combination has its own.
    """
    name, own = read_search(search)
    if both := own.keys() & options.keys():
        raise UsageError(f"{min(both)} is given twice: in {search!r} and by itself")
    options |= own
    made = retriever_class(name)
    building = sorted((name, value) for name, value in options.items() if name not in made.search_options)
    where = str(corpus.resolve() if corpus.exists() else corpus)  # hf:NAME lies nowhere
    place = hashlib.sha256(repr((where, building)).encode()).hexdigest()[:12]
    return made(corpus, home / f"{corpus.stem}-{place}-{name}", progress=progress, **options)
