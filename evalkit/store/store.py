"""The store as one object, composed of the runs, their samples and the queries of a leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from evalkit.errors import StoreError
from evalkit.store.board import Board
from evalkit.store.database import Database, check_url
from evalkit.store.migrate import migrate
from evalkit.store.runs import Runs
from evalkit.store.samples import Samples
from evalkit.util.moved import former_method


class Store:
    """An open store, safe to use from several threads; a context manager that closes it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs = Runs(database)
        self.samples = Samples(database, self.runs)
        self.board = Board(database, self.runs)

    @property
    def name(self) -> str | None:
        """The store's file, or its URL without the password."""
        return self.database.name

    @property
    def home(self) -> Path:
        """The folder of files beside the store."""
        return self.database.home

    @property
    def embedded(self) -> bool:
        """Whether the store is a local file and not on a database server."""
        return self.database.embedded

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            return former_method(self, name)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_url(url: str | Path | None, create: bool) -> Store:
    """Open a store, as ``evalkit.store.open_store`` describes."""
    database = Database(check_url(url, create))
    try:
        migrate(database)
    except StoreError:
        database.engine.dispose()
        raise
    return Store(database)
