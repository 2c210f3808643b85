"""``evalkit.toml``: models by name, found in the working directory or above it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError

NAME = "evalkit.toml"


def load_config(start: Path | None = None) -> dict[str, Any]:
    """The nearest ``evalkit.toml`` at or above ``start``; empty where there is none.

    Raises ``UsageError`` with the line for a file that is not TOML.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        path = folder / NAME
        if path.is_file():
            try:
                return tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UsageError(f"{path}: {error}") from None
    return {}
