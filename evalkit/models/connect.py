"""Turn a model spec into a ``Model`` that tasks call: load the backend, probe the server, add the layers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec

from evalkit.errors import ProbeError, SetupError, UsageError
from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.models.batch.batched import WINDOW, Batched
from evalkit.models.batch.journal import JOURNAL, Journal
from evalkit.models.middleware.cached import CacheMode, namespaces
from evalkit.models.middleware.meter import Meter
from evalkit.models.middleware.response_cache import ResponseCache, request_key
from evalkit.models.middleware.stack import scheduler_of
from evalkit.models.prices import price_of, shown_name
from evalkit.models.schedule.lengths import prior
from evalkit.models.schedule.load_monitor import watch
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend, BackendTraits, ProbeResult
from evalkit.types import Requirements, ServerInfo
from evalkit.util.config import cache_size, load_config

# The schedulers of each event loop by their endpoints, as long as a model uses them.
_schedulers: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[tuple[str, ...], Scheduler]] = (
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
    meter: Meter | None = None,
) -> AsyncIterator[tuple[str, Model]]:
    """Yield a probed model and its display name.

    - ``text``: the model spec; ``needs``: what the probe checks.
    - ``responses``: the cache file; ``mode`` and ``namespace``: which entries are used (``Cached``).
    - ``stop``: an event; once set, nothing more is sent.
    - ``given``: a backend to use in place of the spec's; ``text`` is then only its name.
    - ``earlier``: tokens of earlier replies by sample id, for the scheduler.
    - ``known``: name and facts of an earlier probe, so that a served model is not probed.
    - ``meter``: counts what the replies cost; by default as those of a judge.

    Raises ``ProbeError`` with the fix if the model is not there or cannot do what is needed.
    """
    meter = meter or Meter(shown_name(text), price_of(text, given))
    backend = given or load(text, config=load_config())
    if (service := backend.batches()) is not None:
        _check_batch(backend.name, needs, max_inflight)
    cache = ResponseCache(responses, cache_size(load_config()))
    batched: Batched | None = None
    try:
        if known and backend.traits.endpoints:
            probed = ProbeResult(*known, backend.traits)
        else:
            probed = await backend.probe(needs)
        scheduler = _scheduler(probed.traits, max_inflight)
        if service is not None:
            probed = _with_window(probed)
            key = partial(request_key, probed.info.identity, namespace=namespaces(mode, namespace)[0])
            began = time.time()
            journal = Journal(responses.with_name(JOURNAL))
            batched = Batched(
                service,
                journal,
                key,
                model=text,
                cached=lambda key: cache.newer(key, began),
                stop=stop,
                down_s=probed.traits.down_timeout,
            )
        sender = wrap(
            backend,
            probed.traits,
            cache=cache,
            identity=probed.info.identity,
            mode=mode,
            namespace=namespace,
            prior=prior(earlier) if earlier else None,
            scheduler=scheduler,
            stop=stop,
            batched=batched,
            meter=meter,
        )
        async with _watched(backend, scheduler):
            yield text if given else probed.name, Model(sender, adapter=backend, probed=probed)
    finally:
        if batched is not None:
            await batched.close()
        await backend.close()
        cache.close()


@asynccontextmanager
async def connect_beside(
    text: str, role: str, needs: Requirements, responses: Path
) -> AsyncIterator[tuple[str, Model]]:
    """Yield a model beside the one under test, as ``connect`` does; its errors begin with the ``role``."""
    async with AsyncExitStack() as stack:
        try:
            connected = await stack.enter_async_context(connect(text, needs, responses, stop=asyncio.Event()))
        except (SetupError, UsageError) as problem:
            raise type(problem)(f"{role}: {problem}") from None
        yield connected


def _check_batch(name: str, needs: Requirements, max_inflight: int | None) -> None:
    """Refuse what a batch interface does not have. Raises ``ProbeError``, ``UsageError``."""
    if needs.logprobs:
        raise ProbeError(f"{name}: a batch interface has no log-probabilities. Leave out batch=true")
    if max_inflight is not None:
        raise UsageError(f"{name}: --max-inflight has no effect with batch=true. Leave it out")


def _with_window(probed: ProbeResult) -> ProbeResult:
    """Return the result of a probe with a number of samples in progress that is worth a batch."""
    traits = msgspec.structs.replace(probed.traits, window=probed.traits.window or WINDOW)
    return msgspec.structs.replace(probed, traits=traits)


def _scheduler(traits: BackendTraits, max_inflight: int | None) -> Scheduler:
    """Return the one scheduler of all models at the same endpoints.

    The requests of a run's model and of its judge then keep to one limit together.
    """
    if not traits.endpoints:
        return scheduler_of(traits, max_inflight)
    shared = _schedulers.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    if (scheduler := shared.get(traits.endpoints)) is None:
        scheduler = shared[traits.endpoints] = scheduler_of(traits, max_inflight)
    return scheduler


@asynccontextmanager
async def _watched(backend: Backend, scheduler: Scheduler) -> AsyncIterator[None]:
    """Poll the servers' queues during the block."""
    watching = asyncio.create_task(watch(backend, scheduler))
    try:
        yield
    finally:
        watching.cancel()
