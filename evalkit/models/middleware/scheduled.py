"""The innermost layer: requests wait here until the scheduler gives them a free slot of an endpoint."""

from __future__ import annotations

import asyncio

from evalkit.errors import ModelError, ServerFailed, SetupError
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.retrying import LONGEST_WAIT_S
from evalkit.models.schedule.lengths import Prior
from evalkit.models.schedule.prefix import QueuedRequest
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend
from evalkit.types import Request, Response

# The seconds that an outage (such as a server's restart) may last before the run stops.
DOWN_S = 120.0


class Scheduled:
    """Drives a ``Scheduler`` in real time: sends each request in its turn, to its endpoint.

    Once ``stop`` is set, or the command's limit of cost or tokens is reached, the requests that still wait
    are cancelled with their samples; those at the server may finish. The run stops with a ``SetupError`` when
    an outage lasts longer than ``down_s`` seconds.
    """

    def __init__(
        self,
        backend: Backend,
        scheduler: Scheduler | None = None,
        prior: Prior | None = None,
        *,
        stop: asyncio.Event | None = None,
        down_s: float | None = None,
    ) -> None:
        self.scheduler = Scheduler() if scheduler is None else scheduler
        self.down_s = down_s or DOWN_S
        self._backend, self._prior, self._stop = backend, prior, stop
        self._wake_is_due = False
        self._alarm: asyncio.TimerHandle | None = None

    async def send(self, request: Request) -> Response:
        """Send a request in its turn; if its endpoint cannot be reached, to another endpoint."""
        other_endpoints = len(self.scheduler.endpoints) - 1
        while True:
            try:
                return await self._send_once(request)
            except ServerFailed as problem:
                if not other_endpoints or not problem.not_sent:
                    raise
                other_endpoints -= 1

    async def _send_once(self, request: Request) -> Response:
        schedule, loop = self.scheduler, asyncio.get_running_loop()
        queued = schedule.submit(request, self._prior(request) if self._prior else None)
        queued.waiter = loop.create_future()
        self._wake(loop)
        try:
            await queued.waiter
            response = await self._send_to(queued)
        except ModelError as problem:
            call_stats.current.get().failed(problem)
            schedule.finish(queued, loop.time(), problem=problem)
            self._check_outage(problem, loop.time())
            raise
        else:
            usage = response.usage
            call_stats.current.get().tokens += usage.completion_tokens
            schedule.finish(queued, loop.time(), tokens=usage.completion_tokens, prompt=usage.prompt_tokens)
            return response
        finally:
            schedule.cancel(queued, loop.time())
            self._wake(loop)

    def _check_outage(self, problem: ModelError, now: float) -> None:
        """Raise ``SetupError`` if the outage is too long, or the server asks for too long a pause."""
        if (duration := self.scheduler.breaker.duration(now)) > self.down_s:
            raise SetupError(
                f"no answer for {duration:.0f} s; the last failure: {problem}. Stopped here: when the "
                "server is back, resume the run. To wait longer for the server: ?down_timeout=SECONDS"
            ) from None
        if (retry_after := self.scheduler.closed_for(now)) > LONGEST_WAIT_S:
            raise SetupError(
                f"{problem}. The server sent Retry-After: {retry_after:.0f} s. Stopped here: resume the run "
                "after that time"
            ) from None

    async def _send_to(self, queued: QueuedRequest) -> Response:
        counts = call_stats.current.get()
        if counts.spending.reached or (self._stop is not None and self._stop.is_set()):
            raise asyncio.CancelledError
        endpoint = self.scheduler.endpoints[queued.endpoint]
        counts.in_flight += 1
        try:
            response, rates = await self._backend.send_to(queued.request, endpoint.name)
        finally:
            counts.in_flight -= 1
        if not isinstance(response, Response):
            name, kind = self._backend.name, type(response).__name__
            raise SetupError(f"the adapter of {name} returned {kind}, not a Response")
        if rates:
            endpoint.update_limits(queued, rates, asyncio.get_running_loop().time())
        return response

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what may be sent, once all tasks that are ready now have submitted their requests."""
        if not self._wake_is_due:
            self._wake_is_due = True
            loop.call_soon(self._send_next, loop)

    def _send_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake_is_due = False
        while (queued := self.scheduler.next(now := loop.time())) is not None:
            if queued.waiter.done():  # cancelled in this turn of the event loop
                self.scheduler.cancel(queued, now)
            else:
                queued.waiter.set_result(None)
        # Of the same moment: an endpoint that opens between two looks at the clock would get no alarm.
        if self._alarm is None and (opens := self.scheduler.opens_at(now)) is not None:
            self._alarm = loop.call_at(opens, self._on_alarm, loop)

    def _on_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        self._send_next(loop)
