"""Several servers of one model: the scheduler chooses the server of a request. What it does not schedule (the
probe's questions) goes to the least busy one, and past one that is down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from evalkit.errors import ServerFailed
from evalkit.models.openai.identity_guard import IdentityGuard
from evalkit.models.openai.transport import Unreachable

T = TypeVar("T")


class Endpoints:
    """API bases with the number of requests each has in flight."""

    def __init__(self, urls: tuple[str, ...], restarts: IdentityGuard | None = None) -> None:
        self.urls, self._restarts = urls, restarts
        self._in_flight = dict.fromkeys(urls, 0)

    async def call(self, exchange: Callable[[str], Awaitable[T]], endpoint: str = "") -> T:
        """Run ``exchange(url)`` at an endpoint; without one, at the least busy that can be connected to."""
        if endpoint:
            return await self._exchange(endpoint, exchange)
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
