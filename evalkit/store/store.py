"""The store as one object. Its parts: ``database`` → ``runs`` → ``samples`` → ``board``."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from evalkit.errors import StoreError
from evalkit.store.board import Board
from evalkit.store.database import check_url
from evalkit.store.migrate import migrate


class Store(Board):
    """An open store, safe to use from several threads; a context manager that closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_url(url: str | Path | None, create: bool) -> Store:
    """See ``evalkit.store.open_store``."""
    store = Store(check_url(url, create))
    try:
        migrate(store)
    except StoreError:
        store.engine.dispose()
        raise
    return store
