"""Where evalkit keeps what can be made again: downloads, corpora, embeddings, indexes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """``$EVALKIT_CACHE``, else ``evalkit`` in the user's cache folder. Made where it is missing."""
    home = os.environ.get("EVALKIT_CACHE")
    path = Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "evalkit"
    path.mkdir(parents=True, exist_ok=True)
    return path
