"""HTTP, and the only module that knows which client makes it: JSON out, bytes or lines back.

Failures of the way to the server become ``ServerFailed`` here; HTTP statuses are left to the adapters.
"""

from __future__ import annotations

import asyncio
import io
import math
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import msgspec

from evalkit.errors import ServerFailed

# Below the five seconds after which common servers drop an idle connection, so that a request never
# goes into one that is just being closed.
_KEEP_ALIVE_S = 4.0
# One server-sent event can hold a whole reply.
_LINE_BYTES = 2**24
_LARGE_BYTES = 2**19
# A list of models or a page of facts; a server that takes longer hangs.
_DOCUMENT_S = 30.0


class Unreachable(ServerFailed):
    """No connection could be made: the request was certainly not begun, another endpoint may take it."""

    never_begun = True


class TooSlow(ServerFailed):
    """A limit of time was reached: many of these mean that the server has too much to do."""

    too_much = True


@dataclass(frozen=True)
class Timeouts:
    """Limits in seconds: for connecting, for the first byte of the reply, and for the whole exchange."""

    connect: float = 10.0
    first_byte: float = 600.0
    total: float = 600.0


@dataclass(frozen=True)
class Reply:
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Stream:
    """A reply that is still coming, line by line."""

    status: int
    headers: Mapping[str, str]
    lines: AsyncIterator[bytes]


class Transport:
    """A pool of kept-alive connections. Made in any thread, used in one event loop."""

    def __init__(self, timeouts: Timeouts, headers: Mapping[str, str] | None = None) -> None:
        self._timeouts = timeouts
        self._headers = dict(headers or {})
        self._session: aiohttp.ClientSession | None = None

    async def post_json(self, url: str, payload: Any) -> Reply:
        """Send ``payload`` as JSON and read the whole reply. Raises ``ServerFailed``, ``Unreachable``."""
        async with self._exchange("POST", url, payload) as response:
            return Reply(response.status, _lower(response), await response.read())

    async def get(self, url: str) -> Reply:
        """Read a small document, within half a minute. Raises ``ServerFailed``, ``Unreachable``."""
        async with self._exchange("GET", url, longest=_DOCUMENT_S) as response:
            return Reply(response.status, _lower(response), await response.read())

    @asynccontextmanager
    async def stream_json(self, url: str, payload: Any) -> AsyncIterator[Stream]:
        """Send ``payload`` as JSON and read the reply by lines. Raises ``ServerFailed``, ``Unreachable``."""
        async with self._exchange("POST", url, payload) as response:
            yield Stream(response.status, _lower(response), self._lines(response))

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def _exchange(
        self, method: str, url: str, payload: Any = None, longest: float = math.inf
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        limits = self._timeouts
        limits = replace(limits, total=min(limits.total, longest), first_byte=min(limits.first_byte, longest))
        headers = dict(self._headers)
        data: bytes | io.BytesIO | None = None
        if payload is not None:
            data = msgspec.json.encode(payload)
            if len(data) > _LARGE_BYTES:
                data = io.BytesIO(data)  # sent piece by piece: the event loop goes on meanwhile
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(limits.total):
                async with asyncio.timeout(limits.first_byte):
                    response = await self._pool().request(method, url, data=data, headers=headers)
                try:
                    yield response
                finally:
                    response.release()
        except TimeoutError as problem:
            raise _too_slow(url, problem, limits) from None
        except (aiohttp.ClientConnectorError, ConnectionRefusedError) as problem:
            reason: OSError = getattr(problem, "os_error", problem)
            said = os.strerror(reason.errno) if reason.errno and reason.errno > 0 else str(reason)
            raise Unreachable(f"nothing answers at {url}: {said}") from None
        except (aiohttp.ClientError, ConnectionError) as problem:
            said = str(problem) or type(problem).__name__
            raise ServerFailed(f"the connection to {url} broke: {said}") from None

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
                read_bufsize=2**16,
            )
        return self._session

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Lines without their ends, however long they are; the first within its limit."""
        pending, waiting = b"", True
        while True:
            async with asyncio.timeout(self._timeouts.first_byte if waiting else None):
                chunk = await response.content.readany()
            waiting = False
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")
            if len(pending) > _LINE_BYTES:
                raise ServerFailed(f"{response.url} sent a line of more than {_LINE_BYTES} bytes")
        if pending:
            yield pending


def _too_slow(url: str, problem: TimeoutError, limits: Timeouts) -> ServerFailed:
    if isinstance(problem, aiohttp.ConnectionTimeoutError):
        return Unreachable(f"no connection to {url} within {limits.connect:g} s (connect_timeout)")
    first = min(limits.first_byte, limits.total)
    return TooSlow(
        f"{url} did not answer in time (first_byte_timeout={first:g} s, timeout={limits.total:g} s). "
        "If it is only slow, raise ?timeout= or lower ?max_inflight="
    )


def _lower(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
