"""A model that is a function: for the tests of tasks and plug-ins."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from evalkit.protocols import Backend, BackendTraits
from evalkit.types import Request, Response

Reply = str | Response
Function = Callable[[Request], Reply | Awaitable[Reply]]


class FakeBackend(Backend):
    """Answers with ``function(request)``: a text or a ``Response``, from a plain or an async function.

    ``requests`` are those it got, in order. What the function raises, ``send`` raises.
    """

    def __init__(self, function: Function, *, name: str = "fake", cacheable: bool = True) -> None:
        self.name, self.traits = name, BackendTraits(cacheable=cacheable)
        self.requests: list[Request] = []
        self._function = function

    async def send(self, request: Request) -> Response:
        """The function's answer."""
        self.requests.append(request)
        made = self._function(request)
        reply = await made if inspect.isawaitable(made) else made
        return reply if isinstance(reply, Response) else Response(text=reply, model=self.name)
