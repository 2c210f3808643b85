"""A pool of documents to search, written once as JSON Lines: id, title, text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from evalkit.util.paths import write_whole


def write_pool(documents: Iterable[Mapping[str, Any]], home: Path, name: str) -> Path:
    """Write the documents to a file under ``home``, whose name contains a hash of them; return its path."""
    home.mkdir(parents=True, exist_ok=True)
    encode = msgspec.json.Encoder().encode
    lines = [encode(document) + b"\n" for document in documents]
    digest = hashlib.sha256(b"".join(lines)).hexdigest()[:16]
    path = home / f"{name}-{digest}.jsonl"
    if not path.exists():
        write_whole(path, b"".join(lines))
    return path
