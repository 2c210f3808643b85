"""The score store: every run, sample, answer and score, in SQLite by default.

    with open_store() as store:
        print(store.runs.get("latest").metrics)

The records do not need SQLAlchemy, which is imported when a store is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.store.store import Store

__all__ = ["open_store"]


def open_store(url: str | Path | None = None, *, create: bool = True) -> Store:
    """Open a store and upgrade it to the schema of this evalkit.

    ``url`` is a file or a database URL; without one, ``EVALKIT_STORE`` or ``.evalkit/evalkit.db`` in the
    working directory. With ``create=False`` a missing file is an error. Raises ``StoreError``.
    """
    from evalkit.store.store import open_url

    return open_url(url, create)
