"""The one order of the layers around a backend, and the queue that the innermost one uses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from evalkit.models.middleware.cached import Cached, CacheMode
from evalkit.models.middleware.coalesced import Coalesced
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.models.middleware.retrying import Retrying
from evalkit.models.middleware.scheduled import Scheduled
from evalkit.models.schedule.lengths import Prior
from evalkit.models.schedule.limits import TokenBucket
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend, BackendTraits, Sender

# Where neither the server nor the user says how many: begin with the first, earn up to the second.
DEFAULT_IN_FLIGHT, MOST_IN_FLIGHT = 64, 256


def wrap(
    backend: Backend,
    traits: BackendTraits | None = None,
    *,
    cache: ResponseCache | None = None,
    identity: Mapping[str, Any] | None = None,
    mode: CacheMode = "on",
    namespace: str = "",
    prior: Prior | None = None,
    scheduler: Scheduler | None = None,
    stop: asyncio.Event | None = None,
) -> Sender:
    """Put all layers around a backend: cache, single flight, retry, schedule. A waiting retry holds no slot.

    ``traits`` are what the probe found out, by default the backend's own; a backend that is not ``cacheable``
    is neither cached nor coalesced. ``identity`` is that of the probe's ``ServerInfo``. ``prior`` tells the
    tokens of an earlier reply to a request. ``scheduler`` is a queue that others use, too. Once ``stop`` is
    set, nothing more is sent.
    """
    traits = traits or backend.traits
    queue = scheduler_of(traits) if scheduler is None else scheduler
    scheduled = Scheduled(backend, queue, prior, stop=stop, down_s=traits.down_timeout)
    whole: Sender = Retrying(scheduled, budget=traits.retry_budget, several=len(queue.endpoints) > 1)
    if not traits.cacheable:
        return whole
    whole = Coalesced(whole)
    return whole if cache is None else Cached(whole, cache, identity or {}, mode, namespace)


def scheduler_of(traits: BackendTraits, max_inflight: int | None = None) -> Scheduler:
    """Return a queue for the endpoints, each with as many requests at once as is known of it.

    ``max_inflight`` bounds the requests under way at all endpoints together, by default as ``traits`` say.
    Where neither does, each endpoint gets its ``slots``; one without begins with 64 and may earn up to 256.
    """
    urls = traits.endpoints or ("",)
    bound = max_inflight or traits.max_inflight
    if bound is not None:
        queue = Scheduler(urls, each=-(-bound // len(urls)), together=bound)
    else:
        queue = Scheduler(urls, each=DEFAULT_IN_FLIGHT, grows=MOST_IN_FLIGHT, slots=traits.slots)
    for endpoint in queue.endpoints:
        endpoint.requests = _bucket(traits.requests_per_minute)
        endpoint.tokens = _bucket(traits.tokens_per_minute)
    return queue


def _bucket(per_minute: float | None) -> TokenBucket | None:
    return TokenBucket(per_minute) if per_minute else None
