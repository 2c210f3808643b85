"""Identical requests in flight are sent once (single flight)."""

from __future__ import annotations

import asyncio
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from evalkit.errors import ModelError
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.layer import Layer
from evalkit.protocols import Sender
from evalkit.requests import canonical
from evalkit.types import Request, Response


class Coalesced(Layer):
    """Identical requests in flight are sent once; the others get the same response, as if from a cache.

    A failure is shared by those who waited for it and by nobody after. Where the one who sends is
    cancelled, one of the others sends instead.
    """

    def __init__(self, inner: Sender) -> None:
        super().__init__(inner)
        self._flying: dict[Any, asyncio.Future[Response | None]] = {}

    async def send(self, request: Request) -> Response:
        """The response to this request, or to one that is equal to it and under way."""
        key = _content(request)
        while (flight := self._flying.get(key)) is not None:
            # ``wait`` and not ``await``: a cancelled waiter must not cancel what others wait for.
            await asyncio.wait([flight])
            if (response := flight.result()) is not None:
                call_stats.current.get().hits += 1
                return replace(response, from_cache=True)
        flight = self._flying[key] = asyncio.get_running_loop().create_future()
        try:
            response = await self.inner.send(request)
        except ModelError as problem:
            flight.set_exception(problem)
            flight.exception()  # seen, also where nobody waits
            raise
        else:
            flight.set_result(response)
            return response
        finally:
            del self._flying[key]
            if not flight.done():
                flight.set_result(None)


_LOOSE = {"sample", "json_schema", "extra"}
_hashable = attrgetter(*(name for name in Request.__struct_fields__ if name not in _LOOSE))


def _content(request: Request) -> Any:
    """A request as a dictionary key: all that a server sees of it, and the repeat."""
    loose = canonical([request.json_schema, request.extra]) if request.json_schema or request.extra else b""
    return _hashable(request), loose
