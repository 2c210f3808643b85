"""What the batch interfaces of all vendors share: files of JSON lines, their errors, replies."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from evalkit.errors import EvalkitError, RequestRejected, ServerFailed, SetupError
from evalkit.models.http import HTTPBackend
from evalkit.models.middleware import call_stats
from evalkit.models.openai import wire
from evalkit.models.openai.http_errors import Withheld, fail
from evalkit.models.vendor import check_chat
from evalkit.protocols import BatchResult, BatchService
from evalkit.reading.surrogates import whole_values
from evalkit.types import Request, Response, token_count
from evalkit.util.masking import excerpt, mask_bytes


class HTTPBatches(BatchService):
    """The base class of batch interfaces. ``backend`` builds the requests and reads the replies."""

    def __init__(self, backend: HTTPBackend) -> None:
        self.backend = backend
        self.url = backend.endpoints.urls[0]
        self.wait_s = backend.spec.options.get("batch_wait", self.wait_s)

    def body(self, request: Request) -> dict[str, Any]:
        """Return the body of a chat, as the adapter sends it. Raises ``RequestRejected``."""
        if request.continuation is not None:
            raise RequestRejected("a batch interface takes chats only, and reports no log-probabilities")
        check_chat(request)
        return self.backend.payload(request)

    def read(self, body: Any, request: Request) -> Response:
        """Return the response in the body of a reply; None stands for a request that a filter refused."""
        if body is None:
            return self.backend.withheld()
        with wire.reading(self.url):
            return self.backend.answer(body, request)

    async def get(self, url: str) -> dict[str, Any]:
        """Return a JSON object of the server. Raises as ``Backend.send`` does."""
        data = await self.backend.get_json(url, missing=())
        if not isinstance(data, dict):
            raise ServerFailed(f"{url} answered with no object")
        return data

    async def lines(self, url: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the lines of a file; one that is no JSON object is left out, and counted.

        Raises as ``Backend.send`` does; ``ServerFailed`` for a page without any such line, as of a proxy.
        """
        first, read = b"", False
        async with self.backend.transport.stream(url) as stream:
            if stream.status >= 400:
                body = b"\n".join([line async for line in stream.lines])
                fail(stream.status, stream.headers, mask_bytes(body), url)
            async for line in stream.lines:
                if not line.strip():
                    continue
                try:
                    value = msgspec.json.decode(line)
                except ValueError:
                    value = None
                first = first or line
                if isinstance(value, dict):
                    read = True
                    yield whole_values(value)
                else:
                    call_stats.current.get().failures["broken line of a batch"] += 1
        if first and not read:
            raise ServerFailed(
                f"{url} answered with no results, but: {excerpt(first.decode('utf-8', 'replace'))}"
            )


class Expired(ServerFailed):
    """The vendor did not come to a line within its time: nothing is paid, and the line is asked again."""


def failed_line(key: str, status: Any, body: Any, where: str) -> BatchResult:
    """Return the result of a line that the vendor answered with an error status and a ``body``."""
    code = status if isinstance(status, int) and status >= 400 else 500
    try:
        fail(code, {}, mask_bytes(msgspec.json.encode(body)), where)
    except Withheld:
        return BatchResult(key)
    except EvalkitError as problem:
        return BatchResult(key, problem=problem)


def expired_line(key: str) -> BatchResult:
    """Return the result of a line that the vendor did not come to within its time."""
    return BatchResult(key, problem=Expired("the line of the batch expired at the vendor"))


def cancelled_line(key: str) -> BatchResult:
    """Return the result of a line whose job a user cancelled."""
    problem = "the batch job was cancelled. Stopped here: resume the run to ask for what is missing"
    return BatchResult(key, problem=SetupError(problem))


def text_of(data: Any, name: str) -> str:
    """Return a text that a reply must have, such as the id of a new job. Raises ``ServerFailed``."""
    value = data.get(name) if isinstance(data, Mapping) else None
    if not isinstance(value, str) or not value:
        raise ServerFailed(f"the server's reply about a batch has no {name}")
    return value


def counted(counts: Mapping[str, Any], *kinds: str) -> int:
    """Return how many lines are of these kinds; what is no count is 0."""
    return sum(token_count(counts.get(kind)) for kind in kinds)


def multipart(fields: Mapping[str, str], name: str, lines: Sequence[bytes]) -> tuple[bytes, dict[str, str]]:
    """Return the body of a form with a file of ``lines``, and its headers."""
    border = uuid.uuid4().hex
    parts = [
        f'--{border}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = (
        f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    parts += [head.encode(), b"\n".join(lines), f"\r\n--{border}--\r\n".encode()]
    return b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={border}"}
