"""A batch server with faults on demand, and pauses short enough for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.models.batch import batched, jobs
from evalkit.models.connect import connect
from evalkit.types import Requirements, Sample
from tests.servers.batch_server import BatchServer, serve

VENDORS = {
    "openai": "openai:tiny@{url}?batch=true&batch_wait=0.05",
    "responses": "openai:tiny@{url}?api=responses&batch=true&batch_wait=0.05",
    "anthropic": "anthropic:tiny@{url}?batch=true&batch_wait=0.05",
    "gemini": "gemini:tiny@{url}/v1beta?batch=true&batch_wait=0.05",
}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SHORTEST_PAUSE_S", 0.01)
    monkeypatch.setattr(jobs, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(jobs, "PAUSES_S", (0.01, 0.01, 0.01, 0.01))
    monkeypatch.setattr(batched, "_IN_CACHE_AFTER_S", 0.01)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with serve() as server:
        yield server


@pytest.fixture(params=["openai", "anthropic", "gemini"])
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Asking:
    """Asks questions of a model by batch; each call is a new run with the same folder."""

    def __init__(self, folder: Path, server: BatchServer) -> None:
        self.folder, self.server = folder, server

    def connect(self, vendor: str, stop: asyncio.Event | None = None) -> Any:
        spec = VENDORS[vendor].format(url=self.server.url)
        return connect(spec, Requirements(), self.folder / "responses.db", stop=stop or asyncio.Event())

    async def __call__(
        self, vendor: str, questions: list[str], stop: asyncio.Event | None = None
    ) -> list[Any]:
        """Return the text of each reply, or the error."""
        async with self.connect(vendor, stop) as (_, model):
            asked = [model.for_sample(Sample(q, q)).generate(q) for q in questions]
            replies = await asyncio.gather(*asked, return_exceptions=True)
        return [reply if isinstance(reply, BaseException) else reply.text for reply in replies]


@pytest.fixture
def ask(tmp_path: Path, server: BatchServer) -> Asking:
    return Asking(tmp_path, server)
