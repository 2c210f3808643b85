"""A model that is a function: for the tests of tasks and plug-ins."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from evalkit.types import Request, Requirements, Response, ServerInfo

Reply = str | Response
Function = Callable[[Request], Reply | Awaitable[Reply]]


class FakeBackend:
    """Answers with ``function(request)``: a text or a ``Response``, from a plain or an async function.

    ``requests`` are those it got, in order. What the function raises, ``send`` raises.
    """

    max_inflight: int | None = None

    def __init__(self, function: Function, *, name: str = "fake", cacheable: bool = True) -> None:
        self.name, self.cacheable = name, cacheable
        self.defaults: dict[str, Any] = {}
        self.requests: list[Request] = []
        self._function = function

    async def send(self, request: Request) -> Response:
        """The function's answer."""
        self.requests.append(request)
        made = self._function(request)
        reply = await made if inspect.isawaitable(made) else made
        return reply if isinstance(reply, Response) else Response(text=reply, model=self.name)

    async def probe(self, needs: Requirements) -> ServerInfo:
        """It can do everything its function can."""
        return ServerInfo({"provider": "fake", "model": self.name})

    async def close(self) -> None:
        """There is nothing to release."""
