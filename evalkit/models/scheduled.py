"""The innermost layer, in which requests wait until an endpoint has room, and all layers in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from evalkit.errors import ModelError, ServerFailed, SetupError
from evalkit.models import traffic
from evalkit.models.cache import ResponseCache
from evalkit.models.layers import LONGEST_WAIT_S, Cached, CacheMode, Layer, Retrying, Shared
from evalkit.schedule import Rate, Scheduler, Ticket
from evalkit.types import Backend, Request, Response

# The tokens of an earlier reply to a request, where there was one.
Prior = Callable[[Request], int | None]
# Where neither the server nor the user says how many: begin with the first, earn up to the second.
DEFAULT_IN_FLIGHT, MOST_IN_FLIGHT = 64, 256
# An outage may last so long, such as a server's restart, before the run stops.
DOWN_S = 120.0


class Scheduled(Layer):
    """Sends requests in the order and to the endpoints that the ``Scheduler`` says, each in its turn."""

    def __init__(
        self, inner: Backend, scheduler: Scheduler | None = None, prior: Prior | None = None
    ) -> None:
        super().__init__(inner)
        self.scheduler = Scheduler() if scheduler is None else scheduler
        self._prior = prior
        self.down_s: float = getattr(inner, "down_timeout", None) or DOWN_S
        self._waking = False
        self._alarm: asyncio.TimerHandle | None = None

    async def send(self, request: Request) -> Response:
        """Send when it is this request's turn; where an endpoint cannot be reached, by another."""
        spare = len(self.scheduler.lanes) - 1
        while True:
            try:
                return await self._send_once(request)
            except ServerFailed as problem:
                if not spare or not problem.never_begun:
                    raise
                spare -= 1

    async def _send_once(self, request: Request) -> Response:
        schedule, loop = self.scheduler, asyncio.get_running_loop()
        ticket = schedule.submit(request, self._prior(request) if self._prior else None)
        ticket.waiter = loop.create_future()
        self._wake(loop)
        try:
            await ticket.waiter
            response = await self._send_to(ticket)
        except ModelError as problem:
            traffic.current.get().failed(problem)
            schedule.ended(ticket, loop.time(), problem=problem)
            self._check_answering(problem, loop.time())
            raise
        else:
            usage = response.usage
            traffic.current.get().tokens += usage.completion_tokens
            schedule.ended(ticket, loop.time(), tokens=usage.completion_tokens, prompt=usage.prompt_tokens)
            return response
        finally:
            schedule.cancel(ticket, loop.time())
            self._wake(loop)

    def _check_answering(self, problem: ModelError, now: float) -> None:
        """Raises ``SetupError`` where waiting has taken too long, or would."""
        if (lasts := self.scheduler.outage.lasts(now)) > self.down_s:
            raise SetupError(
                f"nothing has been answered for {lasts:.0f} s; the last: {problem}. Stopped here: when "
                "the server is back, resume the run. To wait longer for it: ?down_timeout=SECONDS"
            ) from None
        if (asked := self.scheduler.closed_for(now)) > LONGEST_WAIT_S:
            raise SetupError(
                f"{problem}. It wants to be left alone for {asked:.0f} s: stopped here, resume the run then"
            ) from None

    async def _send_to(self, ticket: Ticket) -> Response:
        counts = traffic.current.get()
        counts.in_flight += 1
        try:
            lane = self.scheduler.lanes[ticket.lane]
            if not lane.name:
                return await self.inner.send(ticket.request)
            from evalkit.models.endpoints import Place, assigned

            place = Place(lane.name)
            before = assigned.set(place)
            try:
                return await self.inner.send(ticket.request)
            finally:
                assigned.reset(before)
                if place.left:
                    lane.told(ticket, place.left, asyncio.get_running_loop().time())
        finally:
            counts.in_flight -= 1

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what may be sent, after everything that is ready now has put its requests in."""
        if not self._waking:
            self._waking = True
            loop.call_soon(self._send_next, loop)

    def _send_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waking = False
        while (ticket := self.scheduler.next(loop.time())) is not None:
            if ticket.waiter.done():  # cancelled in this very moment
                self.scheduler.cancel(ticket, loop.time())
            else:
                ticket.waiter.set_result(None)
        if self._alarm is None and (opens := self.scheduler.opens_at(loop.time())) is not None:
            self._alarm = loop.call_at(opens, self._opened, loop)

    def _opened(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        self._send_next(loop)


def wrap(
    backend: Backend,
    *,
    cache: ResponseCache | None = None,
    identity: Mapping[str, Any] | None = None,
    mode: CacheMode = "on",
    max_inflight: int | None = None,
    salt: str = "",
    prior: Prior | None = None,
    scheduler: Scheduler | None = None,
) -> Backend:
    """All layers in their order: cache, share, retry, schedule. A waiting retry holds no slot.

    Backends that read the sample itself (``cacheable = False``) are never cached nor shared. ``identity`` is
    that of the probe's ``ServerFacts``. ``max_inflight`` bounds the requests under way at all endpoints
    together; it defaults to the backend's own. Where there is none, each endpoint gets as many as its probe
    learned that it runs at once; where nobody says, it begins with 64 and may earn up to 256. ``prior`` says
    how many tokens an earlier reply to such a request had. ``scheduler`` is one that others use, too.
    """
    queue = scheduler_of(backend, max_inflight) if scheduler is None else scheduler
    whole: Backend = Retrying(Scheduled(backend, queue, prior))
    if not getattr(backend, "cacheable", True):
        return whole
    whole = Shared(whole)
    if cache is None:
        return whole
    return Cached(whole, cache, identity or {}, mode, salt)


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
    for lane in queue.lanes:
        lane.requests, lane.tokens = rpm and Rate(rpm), tpm and Rate(tpm)
    return queue
