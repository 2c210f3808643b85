"""A chat server that answers at once: ``python -m benchmarks.instant --port 18091``.

Measurements against this server show the client's own cost. The server speaks the part of HTTP/1.1 that
OpenAI-compatible clients need: ``GET /v1/models``, ``POST /v1/chat/completions`` and ``/v1/completions``. A
reply is the last word of the prompt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.simserver.process import started

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Instant(asyncio.Protocol):
    """A connection; requests may be pipelined."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (head := self._data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._data, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._data) < end:
                return
            line, body = self._data[: self._data.find(b"\r\n")], self._data[head + 4 : end]
            self._data = self._data[end:]
            self._transport.write(self._reply(line, body))

    def _reply(self, line: bytes, body: bytes) -> bytes:
        if line.startswith(b"GET"):
            found = b"/models" in line
            return _http(b'{"object": "list", "data": [{"id": "instant", "object": "model"}]}', found)
        if b"/completions" not in line:
            return _http(b'{"error": {"message": "this page does not exist"}}', False)
        return _http(_completion(body))


def _completion(body: bytes) -> bytes:
    asked = json.loads(body)
    prompt = asked["messages"][-1]["content"] if "messages" in asked else asked["prompt"]
    if not isinstance(prompt, str):
        prompt = "".join(part.get("text", "") for part in prompt)
    word = prompt.split()[-1] if prompt.split() else ""
    text = {"message": {"role": "assistant", "content": word}} if "messages" in asked else {"text": word}
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 2, "total_tokens": len(prompt) // 4 + 2}
    choice = {"index": 0, "finish_reason": "stop", **text}
    kind = "chat.completion" if "messages" in asked else "text_completion"
    whole = {"id": "x", "object": kind, "created": 0, "model": "instant", "choices": [choice], "usage": usage}
    return json.dumps(whole).encode()


def _http(body: bytes, found: bool = True) -> bytes:
    status = b"200 OK" if found else b"404 Not Found"
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


async def serve(port: int) -> None:
    """Serve until stopped."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


@contextmanager
def running(port: int = 18091) -> Iterator[str]:
    """Start the server in a separate process and yield its API base."""
    with started("benchmarks.instant", port) as url:
        yield f"{url}/v1"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18091)
    asyncio.run(serve(parser.parse_args().port))
