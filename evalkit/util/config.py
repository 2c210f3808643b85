"""``evalkit.toml``, in the working directory or above: models, prices, the size of the response cache."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.util.paths import start_folder

NAME = "evalkit.toml"


def load_config(start: Path | None = None) -> dict[str, Any]:
    """Return the content of the nearest ``evalkit.toml`` at or above ``start``; empty where there is none.

    Raises ``UsageError`` with the line for a file that is not TOML.
    """
    if (path := config_file(start)) is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None


def config_file(start: Path | None = None) -> Path | None:
    """Return the nearest ``evalkit.toml`` at or above ``start``; None where there is none."""
    try:
        here = (start or start_folder()).resolve()
    except UsageError:  # the working directory was deleted, and the file with it
        return None
    return next((folder / NAME for folder in (here, *here.parents) if (folder / NAME).is_file()), None)


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)B", re.IGNORECASE)


def cache_size(config: Mapping[str, Any]) -> int | None:
    """Return ``max_size`` of the table ``cache`` ("20 GB") in bytes, or None. Raises ``UsageError``."""
    table = config.get("cache", {})
    if not isinstance(table, Mapping) or set(table) - {"max_size"}:
        raise UsageError(f"{NAME}: [cache] must be a table with max_size as its only key")
    if "max_size" not in table:
        return None
    match = _SIZE.fullmatch(str(table["max_size"]).strip())
    if match is None or not float(match[1]):
        raise UsageError(f'{NAME}, [cache] max_size = {table["max_size"]!r}: write it as "500 MB" or "20 GB"')
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " "))
