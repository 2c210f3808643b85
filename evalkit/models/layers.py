"""What every model call passes through, each layer wrapping one ``send``: cache, share, retry, schedule."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Literal

from msgspec.structs import replace

from evalkit.errors import ModelError, NotCached, Overloaded, ServerFailed, SetupError
from evalkit.model import canonical
from evalkit.models import traffic
from evalkit.models.cache import ResponseCache, request_key
from evalkit.schedule import Rate, Scheduler, Ticket
from evalkit.types import Backend, Needs, Request, Response, ServerFacts

# The tokens of an earlier reply to a request, where there was one.
Prior = Callable[[Request], int | None]
CacheMode = Literal["on", "off", "refresh", "only"]
# Where neither the server nor the user says how many: begin with the first, earn up to the second.
DEFAULT_IN_FLIGHT, MOST_IN_FLIGHT = 64, 256
# An outage may last so long, such as a server's restart, before the run stops.
DOWN_S = 120.0
# So long may a server ask to be left alone, and so long a request is tried again.
LONGEST_WAIT_S = 600.0


class Layer:
    """A backend around another one; subclasses change ``send``, and count in the run's ``Traffic``."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        """``name``, ``defaults`` and whatever else the backend itself has."""
        return getattr(self.inner, name)

    async def send(self, request: Request) -> Response:
        """Pass the request on."""
        return await self.inner.send(request)

    async def probe(self, needs: Needs) -> ServerFacts:
        """Pass the question on."""
        return await self.inner.probe(needs)

    async def close(self) -> None:
        """Close the inner backend."""
        await self.inner.close()


class Cached(Layer):
    """Answers from the cache what was answered before. The modes are those of ``--cache``:

    ``on`` finds what any run was answered. ``off`` files under the ``salt`` (the run) and finds no more than
    that: a resumed run pays nothing twice. ``refresh`` finds what ``off`` does and files for all runs, too.
    ``only`` asks nobody.
    """

    def __init__(
        self,
        inner: Backend,
        cache: ResponseCache,
        identity: Mapping[str, Any],
        mode: CacheMode = "on",
        salt: str = "",
    ) -> None:
        super().__init__(inner)
        self._cache, self._identity, self._only = cache, identity, mode == "only"
        # Where answers are found, and filed; the last is filed first.
        self._salts = {"off": (salt,), "refresh": (salt, "")}.get(mode, ("",))

    async def send(self, request: Request) -> Response:
        """The cached response, or the model's, which is filed before it is handed on.

        Raises ``NotCached`` where only the cache may answer and it cannot.
        """
        keys = [request_key(self._identity, request, salt) for salt in self._salts]
        if (known := self._cache.get(keys[0])) is not None:
            traffic.current.get().hits += 1
            return known
        if self._only:
            raise NotCached(
                "the cache holds no answer to this request (--cache only): the prompt, a parameter or the "
                "model is another one than when it was filled. Ask for it with --cache on"
            )
        response = await self.inner.send(request)
        for key in reversed(keys):
            self._cache.put(key, response)
        return response


class Retrying(Layer):
    """Tries again what may succeed: exponential back-off with full jitter, at least what the server asks for.

    An overload holds back all requests of this model together, so that they do not knock in turn. Where there
    are several endpoints, the schedule holds back those of the one endpoint.

    All tries after the first are at most ``FLOOR`` and a part of the requests that were answered, ``EARNED``
    or the backend's ``retry_budget``: a failure beyond is final. A connection that cannot be made reaches
    nobody and is no such try; how long it may last, ``Scheduled`` decides.
    """

    FLOOR, EARNED = 100, 0.5

    def __init__(
        self,
        inner: Backend,
        *,
        tries: int = 6,
        total_s: float = LONGEST_WAIT_S,
        base_s: float = 0.5,
        cap_s: float = 30.0,
    ) -> None:
        super().__init__(inner)
        self._tries, self._total, self._base, self._cap = tries, total_s, base_s, cap_s
        self._open_at = 0.0
        self._budget = float(self.FLOOR)
        earned = getattr(inner, "retry_budget", None)
        self._earned: float = self.EARNED if earned is None else earned
        self._elsewhere = len(getattr(getattr(inner, "scheduler", None), "lanes", ())) > 1
        self._random = random.Random()

    async def send(self, request: Request) -> Response:
        """The response, with the number of ``retries`` it took. Raises the last failure."""
        give_up, attempt, never_begun = math.inf, 0, 0
        while True:
            await self._wait_until_open()
            try:
                response = await self.inner.send(request)
            except (Overloaded, ServerFailed) as problem:
                wait = self._wait_after(attempt, problem)
                give_up = min(give_up, time.monotonic() + self._total)
                attempt += 1
                never_begun += getattr(problem, "never_begun", False)
                if attempt - never_begun >= self._tries or time.monotonic() + wait > give_up:
                    raise
                self._pay(problem)
                if isinstance(problem, Overloaded) and not self._elsewhere:
                    self._open_at = max(self._open_at, time.monotonic() + wait)
            else:
                self._budget += self._earned
                return replace(response, retries=attempt) if attempt else response
            traffic.current.get().retries += 1
            await asyncio.sleep(wait)

    def _pay(self, problem: ModelError) -> None:
        """Raises the failure where the budget is used up."""
        if getattr(problem, "never_begun", False):
            return
        if self._budget < 1:
            traffic.current.get().given_up += 1
            problem.args = (
                f"{problem} (not tried again: too many requests fail, the retries are used up: {self.FLOOR} "
                f"and {self._earned:g} × the answered requests; more with ?retry_budget=)",
            )
            raise problem
        self._budget -= 1

    def _wait_after(self, attempt: int, problem: ModelError) -> float:
        wait = self._random.uniform(0, min(self._cap, self._base * 2**attempt))
        asked = problem.retry_after if isinstance(problem, Overloaded) and not self._elsewhere else None
        return max(wait, asked or 0.0)

    async def _wait_until_open(self) -> None:
        """Wait for the end of a shared pause, and then a little more, each request another while."""
        while (left := self._open_at - time.monotonic()) > 0:  # noqa: ASYNC110 - it may have been prolonged
            await asyncio.sleep(left + self._random.uniform(0, min(left, 1.0)))


class Shared(Layer):
    """Identical requests in flight are sent once; the others get the same response, as if from a cache.

    A failure is shared by those who waited for it and by nobody after. Where the one who sends is
    cancelled, one of the others sends instead.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._flying: dict[Any, asyncio.Future[Response | None]] = {}

    async def send(self, request: Request) -> Response:
        """The response to this request, or to one that is equal to it and under way."""
        key = _content(request)
        while (flight := self._flying.get(key)) is not None:
            # ``wait`` and not ``await``: a cancelled waiter must not cancel what others wait for.
            await asyncio.wait([flight])
            if (response := flight.result()) is not None:
                traffic.current.get().hits += 1
                return replace(response, from_cache=True)
        flight = self._flying[key] = asyncio.get_running_loop().create_future()
        try:
            response = await self.inner.send(request)
        except ModelError as problem:
            flight.set_exception(problem)
            flight.exception()  # seen, also where nobody waits
            raise
        else:
            flight.set_result(response)
            return response
        finally:
            del self._flying[key]
            if not flight.done():
                flight.set_result(None)


_LOOSE = {"sample", "json_schema", "extra"}
_hashable = attrgetter(*(name for name in Request.__struct_fields__ if name not in _LOOSE))


def _content(request: Request) -> Any:
    """A request as a dictionary key: all that a server sees of it, and the repeat."""
    loose = canonical([request.json_schema, request.extra]) if request.json_schema or request.extra else b""
    return _hashable(request), loose


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
