"""A model made of a function: what authors of tasks test with, no server and no network."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from evalkit.types import Needs, Request, Response, ServerFacts

Reply = str | Response


class FakeBackend:
    """Answers each request with ``function(request)``: a text or a whole ``Response``, sync or async.

    An exception that the function raises is the failure of that request.
    """

    name = "fake"

    def __init__(self, function: Callable[[Request], Reply | Awaitable[Reply]]) -> None:
        self._function = function
        self.defaults: dict[str, Any] = {}

    async def send(self, request: Request) -> Response:
        """The function's reply."""
        made = self._function(request)
        reply = await made if inspect.isawaitable(made) else made
        return reply if isinstance(reply, Response) else Response(text=reply)

    async def probe(self, needs: Needs) -> ServerFacts:
        """Always alive and able."""
        return ServerFacts(identity={"provider": "fake"})

    async def close(self) -> None:
        """Nothing to release."""
