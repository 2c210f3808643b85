"""HTTP, and the only module that knows which client makes it: JSON out, bytes or lines back.

The client is pyreqwest, Rust's reqwest: of those that were measured (``docs/benchmarks.md``) it costs least.
Failures of the way to the server become ``ServerFailed`` here; HTTP statuses are left to the adapters.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError, RequestTimeoutError
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from evalkit.errors import RequestRejected, ServerFailed

# Below the five seconds after which common servers drop an idle connection, so that a request never
# goes into one that is just being closed.
_KEEP_ALIVE = timedelta(seconds=4)
# A reply, or one server-sent event, of more than this is no answer of a model.
_LARGEST_BYTES = 2**28
_LINE_BYTES = 2**24
# A list of models or a page of facts; a server that takes longer hangs.
_DOCUMENT_S = 30.0
# The TLS library's words for a peer that is not what it should be.
_TLS = re.compile("certificate|corrupt message|peer|handshake|alert", re.IGNORECASE)


class Unreachable(ServerFailed):
    """No connection could be made: the request was certainly not begun, another endpoint may take it."""

    not_sent = True


class TooSlow(ServerFailed):
    """A limit of time was reached: many of these mean that the server has too much to do."""

    suggests_overload = True


@dataclass(frozen=True)
class Timeouts:
    """Limits in seconds: for connecting, for the first byte of the reply, between two pieces of a streamed
    one, and for the whole exchange. A model that reasons may write for long, but it writes."""

    connect: float = 10.0
    first_byte: float = 1_800.0
    stall: float = 120.0
    total: float = 1_800.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names may be asked for in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A reply that is still coming, line by line."""

    status: int
    headers: Mapping[str, str]
    lines: AsyncIterator[bytes]


class Transport:
    """A pool of kept-alive connections. Made in any thread, used in one event loop."""

    def __init__(
        self, timeouts: Timeouts, headers: Mapping[str, str] | None = None, proxy: str | None = None
    ) -> None:
        self._timeouts, self._proxy = timeouts, proxy
        self._headers = {**(headers or {}), "Content-Type": "application/json"}
        self._client: Client | None = None

    async def post_json(self, url: str, payload: object) -> Reply:
        """Send ``payload`` as JSON and read the whole reply. Raises ``ServerFailed``, ``Unreachable``."""
        body = msgspec.json.encode(payload)
        return await self._whole(url, self._pool().post(url).body_bytes(body).build_streamed())

    async def get(self, url: str) -> Reply:
        """Read a small document, within half a minute. Raises ``ServerFailed``, ``Unreachable``."""
        longest = min(self._timeouts.total, _DOCUMENT_S)
        request = self._pool().get(url).timeout(timedelta(seconds=longest)).build_streamed()
        return await self._whole(url, request, longest)

    @asynccontextmanager
    async def stream_json(self, url: str, payload: object) -> AsyncIterator[Stream]:
        """Send ``payload`` as JSON and read the reply by lines. Raises ``ServerFailed``, ``Unreachable``."""
        post = self._pool().post(url).body_bytes(msgspec.json.encode(payload))
        # Each piece as it comes: the client would gather 64 kB before it hands on the first.
        request = post.streamed_read_buffer_limit(0).build_streamed()
        try:
            response = await self._begin(request)
            try:
                _no_redirect(url, response)
                yield Stream(response.status, response.headers, self._lines(url, response))
            finally:
                await request.__aexit__(None, None, None)
        except (RequestError, TimeoutError) as problem:
            raise self._explained(url, problem) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _whole(self, url: str, request: StreamRequest, longest: float = math.inf) -> Reply:
        try:
            response = await self._begin(request, longest)
            try:
                _no_redirect(url, response)
                return Reply(response.status, response.headers, await _body(url, response))
            finally:
                await request.__aexit__(None, None, None)
        except (RequestError, TimeoutError) as problem:
            raise self._explained(url, problem, longest) from None

    async def _begin(self, request: StreamRequest, longest: float = math.inf) -> Response:
        """The response, once its first bytes are there."""
        if (within := self._first_byte_s(longest)) is None:
            return await request.__aenter__()
        async with asyncio.timeout(within):
            return await request.__aenter__()

    def _first_byte_s(self, longest: float = math.inf) -> float | None:
        """The limit for the first byte, where the client's own for the whole exchange is not as short."""
        limits = self._timeouts
        return limits.first_byte if limits.first_byte < min(limits.total, longest) else None

    def _pool(self) -> Client:
        if self._client is None:
            builder = (
                ClientBuilder()
                .default_headers(self._headers)
                .connect_timeout(timedelta(seconds=self._timeouts.connect))
                .timeout(timedelta(seconds=self._timeouts.total))
                .pool_idle_timeout(_KEEP_ALIVE)
                .follow_redirects(False)  # the key goes to the server that was named, and to no other
                .no_proxy()  # of the environment: what is asked goes where the model's spec says
            )
            if self._proxy is not None:
                builder = builder.proxy(ProxyBuilder.all(self._proxy))
            self._client = builder.build()
        return self._client

    async def _lines(self, url: str, response: Response) -> AsyncIterator[bytes]:
        """Lines without their ends, however they were cut on the way."""
        line: list[bytes] = []
        async for chunk in self._chunks(url, response):
            head, *others = chunk.split(b"\n")
            line.append(head)
            for start in others:
                yield b"".join(line).rstrip(b"\r")
                line = [start]
            if sum(map(len, line)) > _LINE_BYTES:
                raise RequestRejected(f"{url} sent a line of more than {_LINE_BYTES >> 20} MB")
        if any(line):
            yield b"".join(line)

    async def _chunks(self, url: str, response: Response) -> AsyncIterator[bytes]:
        """What comes, the first within its limit, the others without a stall, and not without end."""
        size, within_s = 0, self._first_byte_s()
        while True:
            try:
                async with asyncio.timeout(within_s):
                    chunk = await response.body_reader.read_chunk()
            except TimeoutError:
                if not size:
                    raise
                raise TooSlow(
                    f"{url} stopped in the middle of a reply: nothing for {self._timeouts.stall:g} s "
                    "(stall_timeout)"
                ) from None
            if chunk is None:
                return
            size, within_s = size + len(chunk), self._timeouts.stall
            if size > _LARGEST_BYTES:
                raise RequestRejected(f"{url} answered with more than {_LARGEST_BYTES >> 20} MB")
            yield bytes(chunk)

    def _explained(self, url: str, problem: Exception, longest: float = math.inf) -> ServerFailed:
        """A failure of the way to the server, in words that say what to do."""
        limits, causes = self._timeouts, _causes(problem)
        connecting = "client error (Connect)" in causes  # the class of the error does not tell
        if isinstance(problem, RequestTimeoutError | TimeoutError):
            if connecting:
                return Unreachable(f"no connection to {url} within {limits.connect:g} s (connect_timeout)")
            total = min(limits.total, longest)
            return TooSlow(
                f"{url} did not answer in time (first_byte_timeout={min(limits.first_byte, total):g} s, "
                f"timeout={total:g} s). If it is only slow, raise ?timeout= or lower ?max_inflight="
            )
        if connecting and url.startswith("https:") and _TLS.search(causes[-1]):
            return Unreachable(
                f"no TLS connection to {url}: {causes[-1]}. A server without TLS is named with http://; a "
                "certificate must be one that this machine trusts, or SSL_CERT_FILE names its authority's"
            )
        if connecting:
            named = {n for n in os.environ if n.upper() in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")}
            unused = (
                f" ({min(named)} is not used: name a proxy with ?proxy=)" if named and not self._proxy else ""
            )
            return Unreachable(f"nothing answers at {url}: {causes[-1]}{unused}")
        return ServerFailed(f"the connection to {url} broke: {causes[-1]}")


async def _body(url: str, response: Response) -> bytes:
    read = response.body_reader.read_chunk
    chunks: list[bytes] = []
    size = 0
    while (chunk := await read()) is not None:
        chunks.append(bytes(chunk))
        size += len(chunks[-1])
        if size > _LARGEST_BYTES:
            raise RequestRejected(f"{url} answered with more than {_LARGEST_BYTES >> 20} MB")
    return b"".join(chunks)


def _no_redirect(url: str, response: Response) -> None:
    if 300 <= response.status < 400:
        to = response.headers.get("location", "nowhere")
        raise RequestRejected(
            f"{url} answered {response.status} and sends its clients to {to}; evalkit does not follow, "
            "since the API key would go along. Name the right address in the model's spec"
        )


def _causes(problem: Exception) -> list[str]:
    """From the client's words to those of the operating system, or of the TLS or DNS library."""
    details = getattr(problem, "details", {})
    return [cause["message"] for cause in details.get("causes") or ()] or [str(problem)]
