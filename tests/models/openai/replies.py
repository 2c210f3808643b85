"""Replies of a server of chats, as handlers for a ``Script``, and a request that asks for them."""

from __future__ import annotations

import json

from aiohttp import web

from evalkit.models import load
from evalkit.types import Message, Request

ASK = Request(messages=(Message("user", "What is 2+2?"),))


def says(text, status=200, headers=None, **more):
    """A handler that answers a chat with ``text``; a dictionary becomes the whole body."""
    body = text
    if isinstance(text, str) or text is None:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text} | more,
            "finish_reason": "stop",
        }
        body = {"model": "tiny", "choices": [choice]}

    async def handler(request, _):
        return web.json_response(body, status=status, headers=headers)

    return handler


def raw(body: bytes, status=200, headers=None):
    async def handler(request, _):
        return web.Response(body=body, status=status, headers=headers)

    return handler


def stream(*lines: str):
    async def handler(request, _):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for line in lines:
            await response.write(line.encode() + b"\n\n")
        return response

    return handler


def delta(finish=None, **fields):
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]})


async def ask(url: str, request: Request = ASK, params: str = ""):
    backend = load(f"openai:tiny@{url}{params}")
    try:
        return await backend.send(request)
    finally:
        await backend.close()
