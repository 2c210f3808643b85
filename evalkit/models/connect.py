"""From a model spec to a ``Model`` that tasks can call: load, probe, wrap in cache, retry and schedule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.models.middleware.cached import CacheMode
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.models.middleware.stack import scheduler_of
from evalkit.models.schedule.lengths import prior
from evalkit.models.schedule.load_monitor import watch
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.types import Requirements, ServerInfo
from evalkit.util.config import cache_size, load_config

# The queues of each event loop, by their endpoints; each is there as long as somebody uses it.
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[tuple[str, ...], Scheduler]] = (
    WeakKeyDictionary()
)


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
    backend = given or load(text, config=load_config())
    cache = ResponseCache(responses, cache_size(load_config()))
    try:
        if known and backend.traits.endpoints:
            probed = ProbeResult(*known, backend.traits)
        else:
            probed = await backend.probe(needs)
        queue = _queue(probed.traits, max_inflight)
        sender = wrap(
            backend,
            probed.traits,
            cache=cache,
            identity=probed.info.identity,
            mode=mode,
            namespace=namespace,
            prior=prior(earlier) if earlier else None,
            scheduler=queue,
            stop=stop,
        )
        async with _watched(backend, queue):
            yield text if given else probed.name, Model(sender, adapter=backend, probed=probed)
    finally:
        await backend.close()
        cache.close()


def _queue(traits: BackendTraits, max_inflight: int | None) -> Scheduler:
    """Return one queue for all models at the same endpoints: a judge's questions there stand in line with the
    rest, and together they are no more than the server runs."""
    if not traits.endpoints:
        return scheduler_of(traits, max_inflight)
    shared = _queues.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    if (queue := shared.get(traits.endpoints)) is None:
        queue = shared[traits.endpoints] = scheduler_of(traits, max_inflight)
    return queue


@asynccontextmanager
async def _watched(backend: Backend, queue: Scheduler) -> AsyncIterator[None]:
    """Meanwhile, ask the servers now and then how many requests wait there."""
    watching = asyncio.create_task(watch(backend, queue))
    try:
        yield
    finally:
        watching.cancel()
