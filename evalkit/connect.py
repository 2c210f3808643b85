"""From a model spec to a ``Model`` that tasks can call: load, probe, and wrap in cache, retry and limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from evalkit.config import load_config
from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.models.cache import ResponseCache
from evalkit.types import Needs


@asynccontextmanager
async def connect(
    text: str, needs: Needs, responses: Path, *, cache: str = "on", max_inflight: int | None = None
) -> AsyncIterator[tuple[str, Model]]:
    """A model that is known to be alive and able, with its name to show. Raises ``ProbeError`` with the fix."""
    backend = load(text, config=load_config())
    store = ResponseCache(responses)
    try:
        facts = await backend.probe(needs)
        wrapped = wrap(backend, store, facts, cache=cache, max_inflight=max_inflight)
        yield backend.name, Model(wrapped, defaults=backend.defaults, facts=facts)
    finally:
        await backend.close()
        store.close()
