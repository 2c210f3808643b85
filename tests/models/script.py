"""A server whose every answer a test decides."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestServer


class Script:
    """An HTTP server on the loopback interface: ``replies`` maps paths to handlers, ``seen`` is what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict]] = []
        self.headers: list[dict[str, str]] = []
        self.replies = {"/v1/models": self.models}
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app, host="127.0.0.1")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    async def models(self, request, body):
        return web.json_response({"object": "list", "data": [{"id": "tiny"}, {"id": "tinier"}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        self.seen.append((request.path, body))
        self.headers.append(dict(request.headers))
        handler = self.replies.get(request.path)
        if handler is None:
            return web.Response(status=404)
        return await handler(request, body)

    def chat(self, *handlers) -> None:
        """Answer chat completions with these handlers in turn, the last one from then on."""
        queue = list(handlers)

        async def answer(request, body):
            return await (queue.pop(0) if len(queue) > 1 else queue[0])(request, body)

        self.replies["/v1/chat/completions"] = answer
