"""The order of the layers around a backend: cache, single flight, masking, meter, retry, schedule, backend.

The cache comes first, so that a cached answer waits for nothing. Retries are outside of the schedule: a
request that pauses before its next try holds no slot of an endpoint. With a batch interface, ``Batched``
stands in the place of retry, schedule and backend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from evalkit.models.batch.batched import Batched
from evalkit.models.middleware.cached import Cached, CacheMode
from evalkit.models.middleware.coalesced import Coalesced
from evalkit.models.middleware.masked import Masked
from evalkit.models.middleware.meter import Meter, Metered
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.models.middleware.retrying import Retrying
from evalkit.models.middleware.scheduled import Scheduled
from evalkit.models.middleware.weights_check import NoWeightsCheck
from evalkit.models.schedule.lengths import Prior
from evalkit.models.schedule.limits import TokenBucket
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend, BackendTraits, Sender

# The most requests in flight at an endpoint if neither server nor user sets a number.
MOST_IN_FLIGHT = 256


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
    batched: Batched | None = None,
    meter: Meter | None = None,
) -> Sender:
    """Return a backend in all its layers.

    ``traits`` are the probe's, by default the backend's own; a backend that is not ``cacheable`` gets neither
    cache nor single flight. ``identity`` is that of the probe's ``ServerInfo``. ``prior`` returns the tokens
    of an earlier reply to a request. ``scheduler`` may be shared by several models. Once ``stop`` is set,
    nothing more is sent. ``batched`` sends to the backend's batch interface. ``meter``
    counts what the replies cost.
    """
    traits = traits or backend.traits
    sender: Sender
    if batched is not None:
        sender = batched
    else:
        queue = scheduler_of(traits) if scheduler is None else scheduler
        scheduled = Scheduled(backend, queue, prior, stop=stop, down_s=traits.down_timeout)
        sender = Retrying(scheduled, budget=traits.retry_budget, several=len(queue.endpoints) > 1)
    sender = Masked(Metered(sender, meter) if meter and meter.active else sender)
    if not traits.cacheable:
        return sender
    sender = Coalesced(sender)
    check = None if batched is None else NoWeightsCheck()
    return sender if cache is None else Cached(sender, cache, identity or {}, mode, namespace, check)


def scheduler_of(traits: BackendTraits, max_inflight: int | None = None) -> Scheduler:
    """Return a scheduler for the endpoints of a backend, with their limits and rates.

    ``max_inflight`` (by default that of ``traits``) limits the requests in flight at all endpoints together.
    Without this limit, each endpoint has its ``slots``; one without slots begins with 64 and grows up to 256.
    """
    urls = traits.endpoints or ("",)
    limit = max_inflight or traits.max_inflight
    if limit is not None:
        queue = Scheduler(urls, per_endpoint=-(-limit // len(urls)), max_in_flight=limit)
    else:
        queue = Scheduler(urls, max_per_endpoint=MOST_IN_FLIGHT, slots=traits.slots)
    for endpoint in queue.endpoints:
        endpoint.requests = _bucket(traits.requests_per_minute)
        endpoint.tokens = _bucket(traits.tokens_per_minute)
    return queue


def _bucket(per_minute: float | None) -> TokenBucket | None:
    return TokenBucket(per_minute) if per_minute else None
