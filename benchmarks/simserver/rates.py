"""A rate limit as at vendors: 429 above it, and the remaining requests in the headers of every reply."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from aiohttp import web


class Bucket:
    """A limit of ``most`` requests in each window of ``per_s`` seconds, for an application.

    ``evenly``: a token bucket that fills at this rate, as at OpenAI. ``tells``: every reply reports the rest.
    """

    def __init__(self, most: int, per_s: float, *, evenly: bool = False, tells: bool = True) -> None:
        self._most, self._per_s, self._evenly, self._tells = most, per_s, evenly, tells
        self._left, self._since = float(most), time.monotonic()
        self.refused = 0

    def limit(self, application: web.Application) -> None:
        """Apply the limit to an application."""
        application.middlewares.append(self._take)
        application.on_response_prepare.append(self._tell)

    async def _tell(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers computed when the request arrived."""
        response.headers.update(request.get("told", {}))

    @web.middleware
    async def _take(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method != "POST":
            return await handler(request)
        self._fill()
        taken = self._left >= 1
        self._left -= taken
        request["told"] = self._headers() if self._tells else {}
        if taken:
            return await handler(request)
        self.refused += 1
        return web.json_response({"error": {"message": "rate limit reached"}}, status=429)

    def _fill(self) -> None:
        now = time.monotonic()
        if self._evenly:
            self._left = min(self._most, self._left + (now - self._since) * self._most / self._per_s)
            self._since = now
        elif now >= self._since + self._per_s:
            self._left, self._since = self._most, now

    def _headers(self) -> dict[str, str]:
        reset = (self._most - self._left) * self._per_s / self._most
        if not self._evenly:
            reset = self._since + self._per_s - time.monotonic()
        return {
            "x-ratelimit-limit-requests": str(self._most),
            "x-ratelimit-remaining-requests": str(int(self._left)),
            "x-ratelimit-reset-requests": f"{1_000 * reset:.0f}ms",
        }
