"""Several servers of one model: the scheduler assigns each request to one; what it has not assigned (the
probe's questions) goes to the least busy, and past one that is down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from evalkit.models.failures import RateLeft, rates_left
from evalkit.models.transport import Unreachable

T = TypeVar("T")


@dataclass(slots=True)
class Place:
    """The server that a request goes to, and what its reply says is left of the server's rates."""

    url: str
    left: Mapping[str, RateLeft] = field(default_factory=dict)


# Where the scheduler sends the request that the running coroutine is about.
assigned: ContextVar[Place | None] = ContextVar("assigned", default=None)


def note_rates(headers: Mapping[str, str]) -> None:
    """Tell the scheduler what a reply's headers say of rates."""
    if (place := assigned.get()) is not None:
        place.left = rates_left(headers)


class Endpoints:
    """API bases with the number of requests each has in flight."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self.urls = urls
        self._in_flight = dict.fromkeys(urls, 0)

    async def call(self, exchange: Callable[[str], Awaitable[T]]) -> T:
        """Run ``exchange(url)`` on the assigned server; else on the least busy that can be connected to."""
        if (place := assigned.get()) is not None:
            return await exchange(place.url)
        failure: Unreachable | None = None
        for url in sorted(self.urls, key=self._in_flight.__getitem__):
            self._in_flight[url] += 1
            try:
                return await exchange(url)
            except Unreachable as problem:
                failure = problem
            finally:
                self._in_flight[url] -= 1
        raise failure or Unreachable("this model has no URL")
