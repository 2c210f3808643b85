"""A stand-in for one kind of model server, with the adapter that asks it."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from evalkit.models import load
from evalkit.types import Message, Request
from tests.models.script import Script
from tests.servers.dialects import Dialect, Said

KEY = "a-key-for-tests-3141592653"
ASK = Request(messages=(Message("user", "What is it?"),))


class Stage:
    """The server, and its adapter. ``params`` are parameters of the model's spec."""

    def __init__(self, script: Script, dialect: Dialect, params: str = "") -> None:
        self.script, self.dialect = script, dialect
        spec = dialect.spec.format(url=script.url)
        self.backend = load(f"{spec}{'&' if '?' in spec else '?'}{params}" if params else spec)
        script.replies.clear()
        for path, page in dialect.pages.items():
            script.replies[path] = answering(200, page)

    def answers(self, status: int, body, headers=None) -> None:
        self.script.replies[self.dialect.path] = answering(status, body, headers)

    async def ask(self, said: Said, request: Request = ASK):
        """Return the response, and the request as the server saw it."""
        self.answers(200, self.dialect.reply(said))
        response = await self.backend.send(request)
        return response, self.script.seen[-1][1]

    def limit(self, body: Any) -> int:
        """Return the most tokens that a request asks for."""
        for name in self.dialect.length:
            body = body[name]
        return int(body)


def answering(status: int, body, headers=None):
    async def handler(request, _):
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers, content_type="application/json")

    return handler


def strings(value) -> list[str]:
    """Return all texts of a JSON value, in order."""
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in strings(item)]


def place(body, text: str) -> int:
    """Return where in a request a text stands. Fails if it stands there never, or twice."""
    places = [i for i, string in enumerate(strings(body)) if text in string]
    assert len(places) == 1, (text, body)
    return places[0]
