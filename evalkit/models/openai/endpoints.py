"""The servers of one model. The scheduler chooses the server of a task's request; a request that is not
scheduled (the probe's) goes to the least busy server that can be connected to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from evalkit.errors import ServerFailed
from evalkit.models.openai.identity_guard import IdentityGuard
from evalkit.models.openai.transport import Unreachable

T = TypeVar("T")


class Endpoints:
    """The API bases of a model, with the number of unscheduled requests in flight at each."""

    def __init__(self, urls: tuple[str, ...], guard: IdentityGuard | None = None) -> None:
        self.urls, self._guard = urls, guard
        self._in_flight = dict.fromkeys(urls, 0)

    async def call(self, exchange: Callable[[str], Awaitable[T]], endpoint: str = "") -> T:
        """Run ``exchange(url)`` at ``endpoint``; if that is empty, at the least busy reachable one."""
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
        """Run ``exchange(url)``, at a server that was away only after a check of its model."""
        if self._guard is None:
            return await exchange(url)
        if self._guard.doubts(url):
            await self._guard.check(url)
        try:
            return await exchange(url)
        except ServerFailed as problem:
            if problem.status is None:
                self._guard.doubt(url, away=problem.not_sent)
            raise
