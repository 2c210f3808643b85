"""Replies of a server with calls of tools."""

from __future__ import annotations

import json

from aiohttp import web


def called(*calls, content=None, finish="tool_calls", **message):
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for id, name, arguments in calls
    ]
    message = {"role": "assistant", "content": content, **message}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}


def sending(document):
    async def handler(request, body):
        if isinstance(document, Exception):
            return web.json_response({"error": {"message": str(document)}}, status=400)
        if isinstance(document, list):
            lines = [f"data: {json.dumps(event)}\n\n" for event in document]
            text = "".join([*lines, "data: [DONE]\n\n"])
            return web.Response(text=text, headers={"Content-Type": "text/event-stream"})
        return web.json_response(document)

    return handler
