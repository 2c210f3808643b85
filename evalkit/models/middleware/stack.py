"""The one order of the layers around a backend, and the queue that the innermost one uses."""

from __future__ import annotations

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
from evalkit.types import Backend

# Where neither the server nor the user says how many: begin with the first, earn up to the second.
DEFAULT_IN_FLIGHT, MOST_IN_FLIGHT = 64, 256


def wrap(
    backend: Backend,
    *,
    cache: ResponseCache | None = None,
    identity: Mapping[str, Any] | None = None,
    mode: CacheMode = "on",
    max_inflight: int | None = None,
    namespace: str = "",
    prior: Prior | None = None,
    scheduler: Scheduler | None = None,
) -> Backend:
    """All layers in their order: cache, share, retry, schedule. A waiting retry holds no slot.

    Backends that read the sample itself (``cacheable = False``) are never cached nor shared. ``identity`` is
    that of the probe's ``ServerInfo``. ``max_inflight`` bounds the requests under way at all endpoints
    together; it defaults to the backend's own. Where there is none, each endpoint gets as many as its probe
    learned that it runs at once; where nobody says, it begins with 64 and may earn up to 256. ``prior`` says
    how many tokens an earlier reply to such a request had. ``scheduler`` is one that others use, too.
    """
    queue = scheduler_of(backend, max_inflight) if scheduler is None else scheduler
    whole: Backend = Retrying(Scheduled(backend, queue, prior))
    if not getattr(backend, "cacheable", True):
        return whole
    whole = Coalesced(whole)
    if cache is None:
        return whole
    return Cached(whole, cache, identity or {}, mode, namespace)


def scheduler_of(backend: Backend, max_inflight: int | None = None) -> Scheduler:
    """A queue for the backend's endpoints, each with as many requests at once as is known of it."""
    endpoints = getattr(backend, "endpoints", None)
    urls = endpoints.urls if endpoints is not None else ("",)
    bound = max_inflight or getattr(backend, "max_inflight", None)
    if bound is not None:
        queue = Scheduler(urls, each=-(-bound // len(urls)), together=bound)
    else:
        slots = getattr(backend, "slots", None)
        queue = Scheduler(urls, each=DEFAULT_IN_FLIGHT, grows=MOST_IN_FLIGHT, slots=slots)
    rpm, tpm = getattr(backend, "rates", (None, None))
    for lane in queue.endpoints:
        lane.requests, lane.tokens = rpm and TokenBucket(rpm), tpm and TokenBucket(tpm)
    return queue
