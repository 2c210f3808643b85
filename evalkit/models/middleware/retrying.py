"""Tries again what may succeed, within a budget."""

from __future__ import annotations

import asyncio
import math
import random
import time

from msgspec.structs import replace

from evalkit.errors import ModelError, Overloaded, ServerFailed
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.layer import Layer
from evalkit.protocols import Sender
from evalkit.types import Request, Response

# The longest time for which a server may ask not to be called, and for which a request is tried again.
LONGEST_WAIT_S = 600.0


class Retrying(Layer):
    """Tries again what may succeed: exponential back-off with full jitter, at least what the server asks for.

    An overload holds back all requests of this model together, so that they do not knock in turn. Where there
    are ``several`` endpoints, the schedule holds back those of the one endpoint.

    All tries after the first are at most ``FLOOR`` and a part of the requests that were answered, ``EARNED``
    or ``budget``: a failure beyond is final. A connection that cannot be made reaches
    nobody and is no such try; how long it may last, ``Scheduled`` decides.
    """

    FLOOR, EARNED = 100, 0.5

    def __init__(
        self,
        inner: Sender,
        *,
        budget: float | None = None,
        several: bool = False,
        tries: int = 6,
        total_s: float = LONGEST_WAIT_S,
        base_s: float = 0.5,
        cap_s: float = 30.0,
    ) -> None:
        super().__init__(inner)
        self._tries, self._total, self._base, self._cap = tries, total_s, base_s, cap_s
        self._open_at = 0.0
        self._budget = float(self.FLOOR)
        self._earned = self.EARNED if budget is None else budget
        self._several = several
        self._random = random.Random()

    async def send(self, request: Request) -> Response:
        """The response, with the number of ``retries`` it took. Raises the last failure."""
        give_up, attempt, not_sent = math.inf, 0, 0
        while True:
            await self._wait_until_open()
            try:
                response = await self.inner.send(request)
            except (Overloaded, ServerFailed) as problem:
                wait = self._wait_after(attempt, problem)
                give_up = min(give_up, time.monotonic() + self._total)
                attempt += 1
                not_sent += problem.not_sent
                if attempt - not_sent >= self._tries or time.monotonic() + wait > give_up:
                    raise
                self._pay(problem)
                if isinstance(problem, Overloaded) and not self._several:
                    self._open_at = max(self._open_at, time.monotonic() + wait)
            else:
                self._budget += self._earned
                return replace(response, retries=attempt) if attempt else response
            call_stats.current.get().retries += 1
            await asyncio.sleep(wait)

    def _pay(self, problem: ModelError) -> None:
        """Raises the failure where the budget is used up."""
        if problem.not_sent:
            return
        if self._budget < 1:
            call_stats.current.get().given_up += 1
            problem.args = (
                f"{problem} (not tried again: too many requests fail, the retries are used up: {self.FLOOR} "
                f"and {self._earned:g} × the answered requests; more with ?retry_budget=)",
            )
            raise problem
        self._budget -= 1

    def _wait_after(self, attempt: int, problem: ModelError) -> float:
        wait = self._random.uniform(0, min(self._cap, self._base * 2**attempt))
        asked = problem.retry_after if isinstance(problem, Overloaded) and not self._several else None
        return max(wait, asked or 0.0)

    async def _wait_until_open(self) -> None:
        """Wait for the end of a shared pause, and then a little more, each request another while."""
        while (left := self._open_at - time.monotonic()) > 0:  # noqa: ASYNC110 - it may have been prolonged
            await asyncio.sleep(left + self._random.uniform(0, min(left, 1.0)))
