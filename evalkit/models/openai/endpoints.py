"""Several servers of one model: the scheduler assigns each request to one; what it has not assigned (the
probe's questions) goes to the least busy, and past one that is down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from evalkit.errors import ServerFailed
from evalkit.models.openai.http_errors import ReportedRateLimit, rates_left
from evalkit.models.openai.identity_guard import Restarts
from evalkit.models.openai.transport import Unreachable

T = TypeVar("T")


@dataclass(slots=True)
class Place:
    """The server that a request goes to, and what its reply says is left of the server's rates."""

    url: str
    left: Mapping[str, ReportedRateLimit] = field(default_factory=dict)


# Where the scheduler sends the request that the running coroutine is about.
assigned: ContextVar[Place | None] = ContextVar("assigned", default=None)


def note_rates(headers: Mapping[str, str]) -> None:
    """Tell the scheduler what a reply's headers say of rates."""
    if (place := assigned.get()) is not None:
        place.left = rates_left(headers)


class Endpoints:
    """API bases with the number of requests each has in flight."""

    def __init__(self, urls: tuple[str, ...], restarts: Restarts | None = None) -> None:
        self.urls, self._restarts = urls, restarts
        self._in_flight = dict.fromkeys(urls, 0)

    async def call(self, exchange: Callable[[str], Awaitable[T]]) -> T:
        """Run ``exchange(url)`` on the assigned server; else on the least busy that can be connected to."""
        if (place := assigned.get()) is not None:
            return await self._exchange(place.url, exchange)
        failure: Unreachable | None = None
        for url in sorted(self.urls, key=self._in_flight.__getitem__):
            self._in_flight[url] += 1
            try:
                return await self._exchange(url, exchange)
            except Unreachable as problem:
                failure = problem
            finally:
                self._in_flight[url] -= 1
        raise failure or Unreachable("this model has no URL")

    async def _exchange(self, url: str, exchange: Callable[[str], Awaitable[T]]) -> T:
        """At a server that was away, only once it is known to have the same model."""
        if self._restarts is None:
            return await exchange(url)
        await self._restarts.check(url)
        try:
            return await exchange(url)
        except ServerFailed as problem:
            if problem.status is None:
                self._restarts.doubt(url)
            raise
