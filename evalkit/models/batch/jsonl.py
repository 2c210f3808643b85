"""What the batch interfaces share: files of JSON lines, and the errors in them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from evalkit.errors import EvalkitError
from evalkit.models.middleware import call_stats
from evalkit.models.openai.http_errors import fail
from evalkit.models.openai.transport import Transport
from evalkit.reading.surrogates import whole_values
from evalkit.util.masking import mask_bytes


def multipart(fields: Mapping[str, str], name: str, lines: Sequence[bytes]) -> tuple[bytes, dict[str, str]]:
    """Return the body of a form with a file of ``lines``, and its headers."""
    border = uuid.uuid4().hex.encode()
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (border, key.encode(), value.encode())
        for key, value in fields.items()
    ]
    head = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n' % (border, name.encode())
    parts += [head, b"Content-Type: application/jsonl\r\n\r\n", b"\n".join(lines), b"\r\n--%b--\r\n" % border]
    return b"".join(parts), {"Content-Type": f"multipart/form-data; boundary={border.decode()}"}


async def decoded_lines(transport: Transport, url: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the lines of a file at ``url``; one that is no JSON object is left out, and counted.

    Raises as ``Backend.send`` does.
    """
    async with transport.stream(url) as stream:
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
            if isinstance(value, dict):
                yield whole_values(value)
            else:
                call_stats.current.get().failures["broken line of a batch"] += 1


def problem_of(status: Any, body: Any, url: str) -> EvalkitError:
    """Return the error for a line that was answered with an error status."""
    code = status if isinstance(status, int) and status >= 400 else 500
    try:
        fail(code, {}, mask_bytes(msgspec.json.encode(body)), url)
    except EvalkitError as problem:
        return problem
