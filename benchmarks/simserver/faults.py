"""Faults of servers and networks on demand: ``--faults 429=0.1,stall=0.02``.

Each fault hits its share of the requests, chosen by the prompt and the number of its earlier requests: a
repeated run has the same faults, in any order of its requests.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

# The delay of a slow reply, and the wait of ``429-after``, in seconds.
SLOW_S, AFTER_S = 0.3, 0.2
# Sizes over evalkit's limits: of a complete reply, and of one line of a streamed reply.
GIGANTIC, GIGANTIC_LINE = 2**28 + 2**20, 2**24 + 2**20
_STATUSES = ("429", "500", "502", "503")
_INSTEAD = (*_STATUSES, "429-after", "reset", "hang", "redirect", "garbage", "page", "error", "gigantic")
_IN_THE_REPLY = ("slow", "stall", "truncated", "type", "no-choices", "two-choices", "empty")
KINDS = (*_INSTEAD, *_IN_THE_REPLY)
# Faults that end the sample: a retry would get the same reply.
FINAL = ("gigantic", "redirect")
# Faults that evalkit tolerates: a late reply, a wrong content type, one choice too many.
HARMLESS = ("slow", "type", "two-choices")


def read_faults(text: str) -> dict[str, float]:
    """Read ``429=0.1,reset=0.05`` as a mapping. Raises ``ValueError`` for an unknown kind."""
    faults = {}
    for item in filter(None, text.split(",")):
        kind, _, share = item.partition("=")
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(KINDS)}")
        faults[kind] = float(share)
    return faults


def drawn(faults: Mapping[str, float], key: int, times: int) -> str | None:
    """Return the fault of the n-th request of a prompt, or None."""
    draw = random.Random(key * 1_000 + times).random()
    for kind, share in faults.items():
        if draw < share:
            return kind
        draw -= share
    return None


async def instead(kind: str | None, request: web.Request, streamed: bool) -> web.StreamResponse | None:
    """Return the response that replaces the reply; None for a fault inside the reply, or no fault."""
    if kind not in _INSTEAD:
        return None
    if kind == "reset":
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
    if kind == "hang":
        await _until_gone(request)
        return web.Response()
    if kind == "gigantic":
        return await _gigantic(request, streamed)
    if kind == "redirect":
        return web.Response(status=307, headers={"Location": "/elsewhere"})
    if kind == "garbage":
        return web.Response(text='{"choices": [', content_type="application/json")
    if kind == "page":
        return web.Response(text="<html><body>Please log in.</body></html>", content_type="text/html")
    if kind == "error":
        return web.json_response({"error": {"message": "a fault: out of memory", "code": 500}})
    headers = {"Retry-After": str(AFTER_S)} if kind == "429-after" else {}
    said = {"error": {"message": f"a fault: {kind}"}}
    return web.json_response(said, status=int(kind.removesuffix("-after")), headers=headers)


async def send(
    kind: str | None, request: web.Request, reply: dict[str, Any], streamed: bool
) -> web.StreamResponse:
    """Send the reply, with the fault inside it, if any."""
    (choice,) = reply["choices"]
    if kind == "no-choices":
        reply["choices"] = []
    if kind == "two-choices":
        reply["choices"] = [choice, choice | {"index": 1, "message": {"content": "another reply"}}]
    if kind == "empty":
        choice["message"]["content"] = ""
    pieces = _events(reply) if streamed else [msgspec.json.encode(reply)]
    if kind == "slow":
        await asyncio.sleep(SLOW_S)
    mime = "text/event-stream" if streamed else "application/json"
    response = web.StreamResponse(headers={"Content-Type": "text/plain" if kind == "type" else mime})
    whole = b"".join(pieces)
    if not streamed:
        response.content_length = len(whole)
    await response.prepare(request)
    if kind in ("stall", "truncated"):
        await response.write(whole[: len(whole) // 2])
        if kind == "stall":
            await _until_gone(request)
        elif request.transport is not None:
            request.transport.close()
        return response
    for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


def _events(reply: dict[str, Any]) -> list[bytes]:
    """Return a reply as server-sent events: role, text in two pieces, end, usage."""
    head = {key: reply[key] for key in ("model",)} | {"object": "chat.completion.chunk"}
    chunks: list[dict[str, Any]] = []
    for choice in reply["choices"]:
        text = choice["message"]["content"]
        deltas = [{"role": "assistant"}, {"content": text[:3]}, {"content": text[3:]}]
        ends = [None, None, None, "stop"]
        for delta, finish in zip([*deltas, {}], ends, strict=True):
            chunks.append({"choices": [{"index": choice["index"], "delta": delta, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": reply["usage"]})
    lines = [b"data: " + msgspec.json.encode(head | chunk) + b"\n\n" for chunk in chunks]
    return [*lines, b"data: [DONE]\n\n"]


async def _gigantic(request: web.Request, streamed: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    head = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "'
    piece = b"x" * 2**20
    try:
        await response.write(b"data: " + head if streamed else head)
        for _ in range((GIGANTIC_LINE if streamed else GIGANTIC) // len(piece)):
            await response.write(piece)
    except ConnectionError:  # the client closed the connection
        return response
    await response.write_eof()
    return response


async def _until_gone(request: web.Request) -> None:
    """Wait until the client closes the connection."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
