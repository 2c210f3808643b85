"""What every model call passes through, each layer wrapping one ``send``: cache, then retry, then limit."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, Literal

from msgspec.structs import replace

from evalkit.errors import ModelError, Overloaded, ServerFailed
from evalkit.models.cache import ResponseCache, request_key
from evalkit.types import Backend, Needs, Request, Response, ServerFacts

CacheMode = Literal["use", "refresh", "off"]
DEFAULT_IN_FLIGHT = 64


class Layer:
    """A backend around another one; subclasses change ``send``."""

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
    """Answers from the cache what was answered before; ``refresh`` asks again and files the new answer."""

    def __init__(
        self,
        inner: Backend,
        cache: ResponseCache,
        identity: Mapping[str, Any],
        mode: Literal["use", "refresh"] = "use",
        salt: str = "",
    ) -> None:
        super().__init__(inner)
        self._cache, self._identity, self._mode, self._salt = cache, identity, mode, salt

    async def send(self, request: Request) -> Response:
        """The cached response, or the model's, which is filed before it is handed on."""
        key = request_key(self._identity, request, self._salt)
        if self._mode == "use" and (known := self._cache.get(key)) is not None:
            return known
        response = await self.inner.send(request)
        self._cache.put(key, response)
        return response


class Retrying(Layer):
    """Tries again what may succeed: exponential back-off with full jitter, at least what the server asks for.

    An overload holds back all requests of this model together, so that they do not knock in turn.
    """

    def __init__(
        self,
        inner: Backend,
        *,
        tries: int = 6,
        total_s: float = 600.0,
        base_s: float = 0.5,
        cap_s: float = 30.0,
    ) -> None:
        super().__init__(inner)
        self._tries, self._total, self._base, self._cap = tries, total_s, base_s, cap_s
        self._open_at = 0.0
        self._random = random.Random()

    async def send(self, request: Request) -> Response:
        """The response, with the number of ``retries`` it took. Raises the last failure."""
        give_up = time.monotonic() + self._total
        attempt = 0
        while True:
            await self._wait_until_open()
            try:
                response = await self.inner.send(request)
            except (Overloaded, ServerFailed) as problem:
                wait = self._wait_after(attempt, problem)
                attempt += 1
                if attempt >= self._tries or time.monotonic() + wait > give_up:
                    raise
                if isinstance(problem, Overloaded):
                    self._open_at = max(self._open_at, time.monotonic() + wait)
            else:
                return replace(response, retries=attempt) if attempt else response
            await asyncio.sleep(wait)

    def _wait_after(self, attempt: int, problem: ModelError) -> float:
        wait = self._random.uniform(0, min(self._cap, self._base * 2**attempt))
        asked = problem.retry_after if isinstance(problem, Overloaded) else None
        return max(wait, asked or 0.0)

    async def _wait_until_open(self) -> None:
        """Wait for the end of a shared pause, and then a little more, each request another while."""
        while (left := self._open_at - time.monotonic()) > 0:  # noqa: ASYNC110 - it may have been prolonged
            await asyncio.sleep(left + self._random.uniform(0, min(left, 1.0)))


class Limited(Layer):
    """At most ``max_inflight`` requests at once."""

    def __init__(self, inner: Backend, max_inflight: int) -> None:
        super().__init__(inner)
        self._slots = asyncio.Semaphore(max_inflight)

    async def send(self, request: Request) -> Response:
        """Send when a slot is free."""
        async with self._slots:
            return await self.inner.send(request)


def wrap(
    backend: Backend,
    *,
    cache: ResponseCache | None = None,
    identity: Mapping[str, Any] | None = None,
    mode: CacheMode = "use",
    max_inflight: int | None = None,
    salt: str = "",
) -> Backend:
    """All layers in their order: cache, retry, limit. A waiting retry holds no slot; a hit needs none.

    Backends that read the sample itself (``cacheable = False``) are never cached. ``identity`` is that of the
    probe's ``ServerFacts``. ``max_inflight`` defaults to the backend's own, which its probe may have learned
    from the server, and else to 64.
    """
    bound = max_inflight or getattr(backend, "max_inflight", None) or DEFAULT_IN_FLIGHT
    whole = Retrying(Limited(backend, bound))
    if cache is None or mode == "off" or not getattr(backend, "cacheable", True):
        return whole
    return Cached(whole, cache, identity or {}, mode, salt)
