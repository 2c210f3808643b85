"""Small corpora on disk, and a cache of their own for all tests of retrieval."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]

DRUGS = ["aspirin", "metformin", "heparin", "insulin", "warfarin", "morphine"]
CONDITIONS = ["migraine", "diabetes", "thrombosis", "asthma", "gout"]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The embeddings of one test serve the next."""
    monkeypatch.setenv("EVALKIT_CACHE", str(shared_cache))
    return shared_cache


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write documents (or raw lines) as JSON Lines, gzipped where the name says so."""

    def write_rows(rows: Sequence[dict[str, Any] | str], name: str = "corpus.jsonl") -> Path:
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        raw = "".join(line + "\n" for line in lines).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return path

    return write_rows


@pytest.fixture(scope="session")
def documents() -> list[dict[str, Any]]:
    """Thirty short trials, two of them word for word the same as another."""
    rows: list[dict[str, Any]] = [
        {
            "id": f"{drug}-{condition}",
            "title": f"{drug.capitalize()} in {condition}",
            "text": f"We gave {drug} to {20 + n} patients with {condition}. "
            f"{'Symptoms improved' if n % 2 else 'Nothing changed'} within {n + 1} weeks. No one died.",
            "year": 1990 + n,
        }
        for n, (drug, condition) in enumerate((d, c) for d in DRUGS for c in CONDITIONS)
    ]
    return [*rows, rows[7] | {"id": "z-copy"}, rows[7] | {"id": "a-copy"}]


class Counting:
    """A ``Progress`` that remembers the totals of its bars."""

    def __init__(self) -> None:
        self.totals: dict[str, int | None] = {}

    @contextmanager
    def bar(self, label: str, total: int | None) -> Iterator[Counting]:
        self.totals[label] = total
        yield self

    def advance(self, n: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


@pytest.fixture
def counting() -> Counting:
    return Counting()
