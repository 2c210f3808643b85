"""The innermost layer, in which requests wait until an endpoint has room, and all layers in their order."""

from __future__ import annotations

import asyncio

from evalkit.errors import ModelError, ServerFailed, SetupError
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.layer import Layer
from evalkit.models.middleware.retrying import LONGEST_WAIT_S
from evalkit.models.schedule.lengths import Prior
from evalkit.models.schedule.prefix import QueuedRequest
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.types import Backend, Request, Response

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
        spare = len(self.scheduler.endpoints) - 1
        while True:
            try:
                return await self._send_once(request)
            except ServerFailed as problem:
                if not spare or not problem.not_sent:
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
            call_stats.current.get().failed(problem)
            schedule.ended(ticket, loop.time(), problem=problem)
            self._check_answering(problem, loop.time())
            raise
        else:
            usage = response.usage
            call_stats.current.get().tokens += usage.completion_tokens
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

    async def _send_to(self, ticket: QueuedRequest) -> Response:
        counts = call_stats.current.get()
        counts.in_flight += 1
        try:
            lane = self.scheduler.endpoints[ticket.lane]
            if not lane.name:
                return await self.inner.send(ticket.request)
            from evalkit.models.openai.endpoints import Place, assigned

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
