"""A model that is a Python function, for the tests of tasks and plug-ins."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from evalkit.protocols import Backend, BackendTraits
from evalkit.types import Request, Response

Reply = str | Response
Function = Callable[[Request], Reply | Awaitable[Reply]]


class FakeBackend(Backend):
    """Answers each request with ``function(request)``: a text or a ``Response``; plain or async.

    ``requests`` holds the requests received, in order. An error of the function is raised by ``send``.
    """

    def __init__(self, function: Function, *, name: str = "fake", cacheable: bool = True) -> None:
        self.name, self.traits = name, BackendTraits(cacheable=cacheable, free=True)
        self.requests: list[Request] = []
        self._function = function

    async def send(self, request: Request) -> Response:
        """Return the function's reply as a response."""
        self.requests.append(request)
        result = self._function(request)
        reply = await result if inspect.isawaitable(result) else result
        return reply if isinstance(reply, Response) else Response(text=reply, model=self.name)
