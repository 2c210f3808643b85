"""Puts a streamed reply together from its server-sent events, as servers write them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from evalkit.errors import ServerFailed
from evalkit.models.openai.http_errors import fail, fail_within, reports_error
from evalkit.models.openai.tool_calls import StreamedCalls
from evalkit.models.openai.transport import Stream
from evalkit.models.openai.wire import as_text, content_of, decoded, part_of, thoughts
from evalkit.requests import encoded
from evalkit.util.masking import excerpt, mask_bytes

_MOST_LINES = 1000  # of one event
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


class Events:
    """Puts the events of a reply together from its lines; ``rest`` are the lines that belong to no event.

    An event may have several ``data:`` lines. It is complete once they are JSON: many servers leave out the
    blank line behind an event.
    """

    def __init__(self) -> None:
        self.rest: list[bytes] = []
        self.done = False
        self._data: list[bytes] = []
        self._name = b""
        self._begun = False

    def feed(self, line: bytes) -> Any:
        """Take one line. Return the JSON of the event that it completes; None if it completes none.

        Raises ``ServerFailed`` for an event that is not JSON, or that reports an error without saying which.
        """
        if not self._begun:
            self._begun, line = True, line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"data:"):
            return self._take(line[5:].strip())
        if not line:
            self.end()
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()
        elif not line.startswith(_FIELDS):
            self.rest.append(line)
        return None

    def _take(self, data: bytes) -> Any:
        if data == b"[DONE]":
            self.done = True
            return None
        self._data.append(data)
        if len(self._data) > _MOST_LINES:
            self.end()
        try:
            event = decoded(b"\n".join(self._data))
        except ValueError:  # more lines may follow
            return None
        self._data = []
        if self._name == b"error" and not (isinstance(event, Mapping) and event.get("error")):
            return {"error": event}
        return event

    def end(self) -> None:
        """End an event at its blank line, or at the end of all. Raises ``ServerFailed`` if it is no JSON."""
        data, self._data, self._name = b"\n".join(self._data), [], b""
        if data:
            raise ServerFailed(
                f"the server streamed an event that is not JSON: {excerpt(data.decode('utf-8', 'replace'))!r}"
            )


class StreamedReply:
    """The part of a streamed reply that has arrived."""

    def __init__(self) -> None:
        self.begun = False
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: StreamedCalls | None = None
        self.finish: Any = None
        self.error: Any = None
        self.usage: Any = None
        self.model = ""
        self.first_token_s: float | None = None

    def is_complete(self, done: bool) -> bool:
        """Whether the stream has ended (``done``: it said so) and held a choice."""
        return self.begun and (done or self.finish is not None)

    def add(self, chunk: Any, elapsed_s: float) -> None:
        """Add one event, ``elapsed_s`` after the request. Raises ``ServerFailed`` for a malformed event."""
        if not isinstance(chunk, Mapping):
            raise ServerFailed(f"the server streamed an event that is no part of a reply: {excerpt(chunk)}")
        self.usage = chunk.get("usage") or self.usage
        self.model = as_text(chunk.get("model")) or self.model
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping) or choice.get("index"):
                continue  # only the first choice was asked for
            self.begun = True
            delta = part_of(choice.get("delta") or choice.get("message"), "delta")
            self._add_delta(delta or {"content": choice.get("text")}, elapsed_s)
            self.finish = choice.get("finish_reason") or self.finish
            self.error = choice.get("error") or self.error

    def _add_delta(self, delta: Mapping[str, Any], elapsed_s: float) -> None:
        reasoning = thoughts(delta)
        content, refusal = content_of(delta), as_text(delta.get("refusal"))
        calls = self._add_calls(delta)
        if self.first_token_s is None and (reasoning or content or refusal or calls):
            self.first_token_s = elapsed_s
        self.content.append(content)
        self.reasoning.append(reasoning)
        self.refusal.append(refusal)

    def _add_calls(self, delta: Mapping[str, Any]) -> bool:
        if not (delta.get("tool_calls") or delta.get("function_call")):
            return False
        self.calls = self.calls or StreamedCalls()
        return self.calls.add(delta)

    def document(self) -> dict[str, Any]:
        """Return the reply as a server that does not stream would have sent it, to a chat or a completion."""
        content = "".join(self.content)
        message: dict[str, Any] = {
            "content": content,
            "reasoning_content": "".join(self.reasoning),
            "refusal": "".join(self.refusal),
        }
        if self.calls:
            message["tool_calls"] = self.calls.entries
        choice = {"message": message, "text": content, "finish_reason": self.finish, "error": self.error}
        return {"model": self.model, "choices": [choice], "usage": self.usage}


async def read_stream(stream: Stream, url: str, start: float) -> tuple[Any, float | None]:
    """Return a streamed reply as a whole one, and when its first token came, in seconds after ``start``.

    Raises ``ModelError`` for an error status, an error in the stream, or a stream that ends too early.
    """
    if stream.status >= 400:
        body = b"\n".join([line async for line in stream.lines])
        fail(stream.status, stream.headers, mask_bytes(body), url)
    events, streamed = Events(), StreamedReply()
    async for line in stream.lines:
        if (event := events.feed(line)) is not None:
            _add(streamed, event, url, start)
        if events.done:
            break
    return _whole(events, streamed, url), streamed.first_token_s


def read_events(body: bytes, url: str) -> Any:
    """Return a reply that is no JSON document, but a stream, or a document with an event behind it.

    Raises ``ModelError`` if it is neither, or holds an error.
    """
    events, streamed = Events(), StreamedReply()
    for line in body.splitlines() if b"data:" in body else [body]:
        if (event := events.feed(line)) is not None:
            _add(streamed, event, url, time.perf_counter())
    return _whole(events, streamed, url)


def _add(streamed: StreamedReply, event: Any, url: str, start: float) -> None:
    if reports_error(event):
        fail_within(event, mask_bytes(encoded(event)), url)
    streamed.add(event, time.perf_counter() - start)


def _whole(events: Events, streamed: StreamedReply, url: str) -> Any:
    """Return a reply whose lines have all come; it may be one JSON document instead of a stream.

    Raises ``ServerFailed`` for a stream that ended in the middle.
    """
    events.end()
    if not streamed.begun and (rest := b"\n".join(events.rest).strip()):
        try:
            data = decoded(rest)
        except ValueError:
            start = mask_bytes(rest)[:200].decode("utf-8", "replace")
            raise ServerFailed(f"{url} answered, but not JSON: {start!r}") from None
        fail_within(data, mask_bytes(rest), url)
        return data
    if not (streamed.begun or events.done or events.rest):
        raise ServerFailed(f"{url} answered with an empty body")
    if not streamed.is_complete(events.done):
        raise ServerFailed(f"{url} ended a streamed reply in the middle")
    return streamed.document()
