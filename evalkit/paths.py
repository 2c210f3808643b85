"""Where evalkit keeps what can be made again: downloads, corpora, embeddings, indexes."""

from __future__ import annotations

import os
from pathlib import Path

from evalkit.errors import SetupError


def cache_dir() -> Path:
    """``$EVALKIT_CACHE``, else ``evalkit`` in the user's cache folder. Made where it is missing.

    Raises ``SetupError`` where it cannot be made.
    """
    home = os.environ.get("EVALKIT_CACHE")
    path = Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "evalkit"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"the cache folder {path} cannot be made: {error.strerror}. "
            "Name another one: export EVALKIT_CACHE=…"
        ) from None
    return path
