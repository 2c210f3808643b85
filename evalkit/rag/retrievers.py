"""Retrievers by name, from the entry points ``evalkit.retrievers``. The core imports no retriever itself."""

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
        loaded = points[name].load()
    except ModuleNotFoundError as error:
        raise not_installed(error, f"retriever {name!r}") or UsageError(
            f"retriever {name!r} needs the package {error.name!r}, which is not installed"
        ) from None
    if not (isinstance(loaded, type) and issubclass(loaded, Retriever)):
        raise UsageError(
            f"retriever {name!r}: {points[name].value} must be a subclass of evalkit.protocols.Retriever "
            "(see docs/plug-ins.md)"
        )
    return loaded


def read_search(text: str) -> tuple[str, dict[str, str]]:
    """Return the name and options in ``bm25?k1=1.2&chunk_words=100``. Raises ``UsageError`` if malformed."""
    name, mark, query = text.partition("?")
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if mark else []
    except ValueError:
        raise UsageError(f"{text!r}: write options as {name}?option=value&option=value") from None
    return name, dict(options)


def open_retriever(search: str, corpus: Path, home: Path, *, progress: Progress, **options: Any) -> Retriever:
    """Return a retriever over a corpus, with its index under ``home``. The first search builds the index.

    ``search`` is the retriever's name, with options or without (see ``read_search``). The index folder's name
    depends on corpus path, retriever, the retriever's ``index_format`` and the options that the index depends
    on: each combination has one.
    """
    name, named = read_search(search)
    if both := named.keys() & options.keys():
        raise UsageError(f"{min(both)} is set twice: in {search!r} and as a parameter")
    options |= named
    cls = retriever_class(name)
    building = sorted((name, value) for name, value in options.items() if name not in cls.search_options)
    where = str(corpus.resolve() if corpus.exists() else corpus)  # hf:NAME is no path
    facts = (where, building) if cls.index_format == 1 else (where, building, cls.index_format)
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:12]
    return cls(corpus, home / f"{corpus.stem}-{digest}-{name}", progress=progress, **options)
