"""HTTP transport: sends JSON, returns bytes or lines. No other module knows the HTTP client.

The client is pyreqwest (Rust's reqwest), the cheapest of those measured in ``docs/benchmarks.md``. Failed
connections and time-outs become ``ServerFailed`` here; HTTP statuses are left to the adapters.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError, RequestTimeoutError
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import RequestBuilder, StreamRequest
from pyreqwest.response import Response

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.requests import encoded
from evalkit.util.masking import mask

# Common servers drop an idle connection after five seconds. Below that, no request goes into a connection
# that is just being closed.
_KEEP_ALIVE = timedelta(seconds=4)
# The largest reply and the longest line (one server-sent event): more is no answer of a model.
_LARGEST_BYTES = 2**28
_LARGEST_FILE = 2**33  # of a file that is read line by line
_LINE_BYTES = 2**24
# The time limit for a small page (a list of models, facts of the server) in seconds.
_DOCUMENT_S = 30.0
# Words of the TLS library for a failed handshake.
_TLS = re.compile("certificate|corrupt message|peer|handshake|alert", re.IGNORECASE)


class Unreachable(ServerFailed):
    """No connection could be made, so that the server never saw the request."""

    not_sent = True


class TooSlow(ServerFailed):
    """A time limit was reached; many such errors suggest an overloaded server."""

    suggests_overload = True


@dataclass(frozen=True)
class Timeouts:
    """Time limits in seconds.

    ``connect``: for connecting; ``first_byte``: until the first byte of the reply; ``stall``: between two
    chunks of a streamed reply; ``total``: for the whole exchange. A reasoning model may write for long, but
    its stream does not pause.
    """

    connect: float = 10.0
    first_byte: float = 1_800.0
    stall: float = 120.0
    total: float = 1_800.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. Names of headers are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A reply that arrives line by line."""

    status: int
    headers: Mapping[str, str]
    lines: AsyncIterator[bytes]


class Transport:
    """A pool of kept-alive connections. Create it in any thread; use it in one event loop.

    ``headers`` and ``query`` (encoded) go with each request. No message shows them.
    """

    def __init__(
        self,
        timeouts: Timeouts,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        query: str = "",
    ) -> None:
        self._timeouts, self._proxy, self._query = timeouts, proxy, query
        self._headers = {**(headers or {}), "Content-Type": "application/json"}
        self._client: Client | None = None

    async def post_json(self, url: str, payload: object) -> Reply:
        """Send ``payload`` as JSON and return the reply. Raises ``ServerFailed``, ``Unreachable``."""
        body = encoded(payload)
        return await self._exchange(url, self._to(url, "POST").body_bytes(body).build_streamed())

    async def post_bytes(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send ``body`` with its own ``headers`` and return the reply. Raises as ``post_json`` does."""
        request = self._to(url, "POST")
        for name, value in headers.items():
            request = request.header(name, value)
        return await self._exchange(url, request.body_bytes(body).build_streamed())

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[Stream]:
        """Get a large file and yield it by lines. Raises ``ServerFailed``, ``Unreachable``."""
        request = self._to(url, "GET").build_streamed()
        try:
            response = await self._begin(request)
            try:
                _refuse_redirect(url, response)
                lines = self._lines(url, response, largest=_LARGEST_FILE)
                yield Stream(response.status, response.headers, lines)
            finally:
                await request.__aexit__(None, None, None)
        except (RequestError, TimeoutError) as problem:
            raise self._explained(url, problem) from None

    async def get(self, url: str) -> Reply:
        """Return a small page, within 30 seconds. Raises ``ServerFailed``, ``Unreachable``."""
        total = min(self._timeouts.total, _DOCUMENT_S)
        request = self._to(url, "GET").timeout(timedelta(seconds=total)).build_streamed()
        return await self._exchange(url, request, total)

    @asynccontextmanager
    async def stream_json(self, url: str, payload: object) -> AsyncIterator[Stream]:
        """Send ``payload`` as JSON and yield the reply by lines. Raises ``ServerFailed``, ``Unreachable``."""
        post = self._to(url, "POST").body_bytes(encoded(payload))
        # Without this limit the client would collect 64 kB before it returns the first chunk.
        request = post.streamed_read_buffer_limit(0).build_streamed()
        try:
            response = await self._begin(request)
            try:
                _refuse_redirect(url, response)
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

    async def _exchange(self, url: str, request: StreamRequest, total: float = math.inf) -> Reply:
        try:
            response = await self._begin(request, total)
            try:
                _refuse_redirect(url, response)
                return Reply(response.status, response.headers, await _read_body(url, response))
            finally:
                await request.__aexit__(None, None, None)
        except (RequestError, TimeoutError) as problem:
            raise self._explained(url, problem, total) from None

    def _begin(self, request: StreamRequest, total: float = math.inf) -> Awaitable[Response]:
        """Send a request: the response is there once its headers are."""
        limit = self._first_byte_s(total)
        return request.__aenter__() if limit is None else _within(limit, request)

    def _first_byte_s(self, total: float = math.inf) -> float | None:
        """Return the limit for the first byte; None if the client's limit for the exchange is as short."""
        limits = self._timeouts
        return limits.first_byte if limits.first_byte < min(limits.total, total) else None

    def _to(self, url: str, method: str) -> RequestBuilder:
        """Begin a request. Raises ``RequestRejected`` for a URL that the client cannot read."""
        try:
            return self._pool().request(method, f"{url}?{self._query}" if self._query else url)
        except ValueError as problem:
            raise RequestRejected(f"not a URL: {url!r}: {problem}") from None

    def _pool(self) -> Client:
        if self._client is None:
            builder = (
                ClientBuilder()
                .default_headers(self._headers)
                .connect_timeout(timedelta(seconds=self._timeouts.connect))
                .timeout(timedelta(seconds=self._timeouts.total))
                .pool_idle_timeout(_KEEP_ALIVE)
                .follow_redirects(False)  # the API key must not go to another server
                .no_proxy()  # proxies come from the spec alone, not from the environment
            )
            if self._proxy is not None:
                builder = builder.proxy(ProxyBuilder.all(self._proxy))
            self._client = builder.build()
        return self._client

    async def _lines(
        self, url: str, response: Response, largest: int = _LARGEST_BYTES
    ) -> AsyncIterator[bytes]:
        """Yield the lines of a reply, however the chunks cut them. A line ends with LF, CR LF or CR."""
        line: list[bytes] = []
        after_cr = False
        async for chunk in self._chunks(url, response, largest):
            for piece in chunk.splitlines(keepends=True):
                if not (after_cr and piece == b"\n"):  # the second half of a line end
                    line.append(piece)
                    if piece.endswith((b"\n", b"\r")):
                        yield b"".join(line).rstrip(b"\r\n")
                        line = []
                after_cr = piece.endswith(b"\r")
            if sum(map(len, line)) > _LINE_BYTES:
                raise RequestRejected(f"{url} sent a line of more than {_LINE_BYTES >> 20} MB")
        if any(line):
            yield b"".join(line)

    async def _chunks(self, url: str, response: Response, largest: int) -> AsyncIterator[bytes]:
        """Yield the chunks of a reply, within the limits of time and size."""
        size, limit_s = 0, self._first_byte_s()
        while True:
            try:
                async with asyncio.timeout(limit_s):
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
            size, limit_s = size + len(chunk), self._timeouts.stall
            if size > largest:
                raise RequestRejected(f"{url} answered with more than {largest >> 20} MB")
            yield bytes(chunk)

    def _explained(self, url: str, problem: Exception, total: float = math.inf) -> ServerFailed:
        """Return the error for a failed connection or a time-out, with a message that says what to do."""
        limits, causes = self._timeouts, _causes(problem)
        connecting = "client error (Connect)" in causes  # the class of the error is the same for all
        if isinstance(problem, RequestTimeoutError | TimeoutError):
            if connecting:
                return Unreachable(f"no connection to {url} within {limits.connect:g} s (connect_timeout)")
            total = min(limits.total, total)
            return TooSlow(
                f"{url} did not answer in time (first_byte_timeout={min(limits.first_byte, total):g} s, "
                f"timeout={total:g} s). If it is only slow, raise ?timeout= or lower ?max_inflight="
            )
        if connecting and url.startswith("https:") and _TLS.search(causes[-1]):
            return Unreachable(
                f"no TLS connection to {url}: {causes[-1]}. For a server without TLS write http://. For a "
                "certificate that this machine does not trust, set SSL_CERT_FILE to its authority's file"
            )
        if connecting:
            proxies = {n for n in os.environ if n.upper() in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")}
            ignored = proxies and not self._proxy
            unused = f" ({min(proxies)} is not used: set a proxy with ?proxy=)" if ignored else ""
            return Unreachable(f"nothing answers at {url}: {causes[-1]}{unused}")
        return ServerFailed(f"the connection to {url} broke: {causes[-1]}")


async def _within(limit_s: float, request: StreamRequest) -> Response:
    async with asyncio.timeout(limit_s):
        return await request.__aenter__()


async def _read_body(url: str, response: Response) -> bytes:
    read = response.body_reader.read_chunk
    chunks: list[bytes] = []
    size = 0
    while (chunk := await read()) is not None:
        chunks.append(bytes(chunk))
        size += len(chunks[-1])
        if size > _LARGEST_BYTES:
            raise RequestRejected(f"{url} answered with more than {_LARGEST_BYTES >> 20} MB")
    return b"".join(chunks)


def _refuse_redirect(url: str, response: Response) -> None:
    if 300 <= response.status < 400:
        to = mask(response.headers.get("location", "nowhere"))
        raise RequestRejected(
            f"{url} answered {response.status}, a redirect to {to}. evalkit does not follow redirects: "
            "the API key would go along. Write the right address into the model's spec"
        )


def _causes(problem: Exception) -> list[str]:
    """Return the messages of all causes, from the client's to the operating system's."""
    details = getattr(problem, "details", {})
    return [cause["message"] for cause in details.get("causes") or ()] or [str(problem)]
