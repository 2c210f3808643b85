"""Single flight: of equal requests in flight at the same time, one is sent and all get its response."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from evalkit.errors import ModelError
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.layer import Layer
from evalkit.protocols import Sender
from evalkit.requests import canonical, describe
from evalkit.types import Request, Response


class Coalesced(Layer):
    """Sends one of several equal requests; the others wait for its response, marked ``from_cache``.

    The waiting requests share a failure too; a later request is sent anew. When the request that was sent is
    cancelled, one of the waiting ones is sent instead.
    """

    def __init__(self, inner: Sender) -> None:
        super().__init__(inner)
        self._in_flight: dict[Any, asyncio.Future[Response | None]] = {}

    async def send(self, request: Request) -> Response:
        """Return the response to this request, or to an equal request in flight."""
        key = _content(request)
        while (flight := self._in_flight.get(key)) is not None:
            # ``asyncio.wait``: a plain ``await`` that is cancelled would cancel the shared future too.
            await asyncio.wait([flight])
            if (response := flight.result()) is not None:
                call_stats.current.get().hits += 1
                return replace(response, from_cache=True)
        flight = self._in_flight[key] = asyncio.get_running_loop().create_future()
        try:
            response = await self.inner.send(request)
        except ModelError as problem:
            flight.set_exception(problem)
            flight.exception()  # else asyncio logs an exception that nobody retrieved
            raise
        else:
            flight.set_result(response)
            return response
        finally:
            del self._in_flight[key]
            if not flight.done():
                flight.set_result(None)


_NOT_HASHABLE = {"sample", "json_schema", "extra", "tools", "reference_calls"}
_hashable = attrgetter(*(name for name in Request.__struct_fields__ if name not in _NOT_HASHABLE))


def _content(request: Request) -> Any:
    """Return a request as a dictionary key: all that a server sees of the request, and the repeat."""
    if request.has_tools:
        return canonical(describe(request))
    dicts = canonical([request.json_schema, request.extra]) if request.json_schema or request.extra else b""
    return _hashable(request), dicts
