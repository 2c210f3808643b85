"""Lets nothing new through once the run is asked to stop."""

from __future__ import annotations

import asyncio

from evalkit.models.middleware.layer import Layer
from evalkit.types import Backend, Request, Response


class Stopping(Layer):
    """Lets nothing new through once the run is asked to stop: requests that still wait for a slot are
    cancelled with their samples, those at the server are given their time."""

    def __init__(self, inner: Backend, stop: asyncio.Event) -> None:
        super().__init__(inner)
        self._stop = stop

    async def send(self, request: Request) -> Response:
        """Send, unless the run is stopping."""
        if self._stop.is_set():
            raise asyncio.CancelledError
        return await self.inner.send(request)
