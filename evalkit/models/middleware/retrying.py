"""The retry layer: exponential back-off with full jitter, within a retry budget.

- *Errors*: ``Overloaded`` and ``ServerFailed``. A request is tried up to six times within ten minutes.
- *Pause*: random, up to a limit that doubles with each try, and at least the server's Retry-After. An
  overload pauses all requests of the model; with several endpoints, the scheduler pauses the one endpoint.
- *Budget*: all retries of a model together are at most ``FLOOR`` plus a share of the answered requests
  (``EARNED``, or ``?retry_budget=``), so that retries do not multiply the load of a failing server.
- A request that never reached the server (``not_sent``) uses up neither tries nor budget: ``Scheduled``
  decides how long an outage may last.
"""

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

# The longest Retry-After that is waited for, and the longest time for which a request is tried again.
LONGEST_WAIT_S = 600.0


class Retrying(Layer):
    """Tries a failed request again, as the top of this file says.

    ``budget``: retries for each answered request. ``several``: whether there are several endpoints.
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
        """Return the response, with the number of its ``retries``. Raises the last failure."""
        give_up, attempt, not_sent = math.inf, 0, 0
        while True:
            if self._open_at:  # since the first overload
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
                self._spend_budget(problem)
                if isinstance(problem, Overloaded) and not self._several:
                    self._open_at = max(self._open_at, time.monotonic() + wait)
            else:
                self._budget += self._earned
                return replace(response, retries=attempt) if attempt else response
            call_stats.current.get().retries += 1
            await asyncio.sleep(wait)

    def _spend_budget(self, problem: ModelError) -> None:
        """Take one retry from the budget. Raises the failure if the budget is used up."""
        if problem.not_sent:
            return
        if self._budget < 1:
            call_stats.current.get().given_up += 1
            problem.args = (
                f"{problem} (not tried again: too many requests fail, the retries are used up: {self.FLOOR} "
                f"and {self._earned:g} × the answered requests; allow more with ?retry_budget=)",
            )
            raise problem
        self._budget -= 1

    def _wait_after(self, attempt: int, problem: ModelError) -> float:
        wait = self._random.uniform(0, min(self._cap, self._base * 2**attempt))
        retry_after = problem.retry_after if isinstance(problem, Overloaded) and not self._several else None
        return max(wait, retry_after or 0.0)

    async def _wait_until_open(self) -> None:
        """Wait for the end of the shared pause, plus a random time that spreads the requests out."""
        while (left := self._open_at - time.monotonic()) > 0:  # noqa: ASYNC110 - the pause may grow meanwhile
            await asyncio.sleep(left + self._random.uniform(0, min(left, 1.0)))
