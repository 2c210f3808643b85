"""From a model spec to a ``Model`` that tasks can call: load, probe, wrap in cache, retry and schedule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.models.middleware.cached import CacheMode
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.models.middleware.stack import scheduler_of
from evalkit.models.middleware.stopping import Stopping
from evalkit.models.schedule.lengths import prior
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.types import Backend, Requirements, ServerInfo
from evalkit.util.config import cache_size, load_config

_queues: WeakValueDictionary[tuple[int, tuple[str, ...]], Scheduler] = WeakValueDictionary()


@asynccontextmanager
async def connect(
    text: str,
    needs: Requirements,
    responses: Path,
    *,
    stop: asyncio.Event,
    mode: CacheMode = "on",
    namespace: str = "",
    max_inflight: int | None = None,
    given: Backend | None = None,
    earlier: Mapping[str, float] | None = None,
    known: tuple[str, ServerInfo] | None = None,
) -> AsyncIterator[tuple[str, Model]]:
    """A model that is known to be alive and able, with the name to show for it.

    ``responses`` is the cache's file, ``mode`` and ``namespace`` say what is found in it (``Cached``).
    Once ``stop`` is set, nothing more is sent. ``given`` is used in place of the backend that ``text`` names,
    which is then no more than its name. ``earlier`` holds the tokens of earlier replies by sample id: the
    scheduler lets what takes long begin early. ``known`` are name and facts of an earlier
    probe, for a served model that is not to be asked.
    Raises ``ProbeError`` with the fix where the model is not there or cannot do what is needed.
    """
    backend: Any = given or load(text, config=load_config())
    cache = ResponseCache(responses, cache_size(load_config()))
    try:
        served = hasattr(backend, "endpoints")
        facts = known[1] if known and served else await backend.probe(needs)
        gated = Stopping(backend, stop)
        wrapped = wrap(
            gated,
            cache=cache,
            identity=facts.identity,
            max_inflight=max_inflight,
            mode=mode,
            namespace=namespace,
            prior=prior(earlier) if earlier else None,
            scheduler=_queue(backend, max_inflight),
        )
        name = text if given else known[0] if known and served else backend.name
        async with _watched(backend, wrapped):
            yield name, Model(wrapped, defaults=getattr(backend, "defaults", {}), facts=facts)
    finally:
        await backend.close()
        cache.close()


def _queue(backend: Any, max_inflight: int | None) -> Scheduler:
    """One queue for all models at the same endpoints: a judge's questions there stand in line with the rest,
    and together they are no more than the server runs."""
    if (endpoints := getattr(backend, "endpoints", None)) is None:
        return scheduler_of(backend, max_inflight)
    key = (id(asyncio.get_running_loop()), endpoints.urls)
    if (queue := _queues.get(key)) is None:
        queue = _queues[key] = scheduler_of(backend, max_inflight)
    return queue


@asynccontextmanager
async def _watched(backend: Any, wrapped: Any) -> AsyncIterator[None]:
    """While it lasts, servers of one's own are asked now and then how many requests wait there."""
    if not getattr(backend, "tells_load", False):
        yield
        return
    from evalkit.models.openai.load_monitor import watch

    watching = asyncio.create_task(watch(backend, wrapped.scheduler))
    try:
        yield
    finally:
        watching.cancel()
