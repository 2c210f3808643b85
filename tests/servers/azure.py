"""A server in a thread that behaves as Azure documents its deployments of OpenAI's models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from tests.servers.in_thread import in_thread

DEPLOYMENT, KEY, VERSION = "my-deployment", "0123456789abcdef0123456789abcdef", "2024-10-21"
FILTERED = {
    "message": "The prompt triggered Azure OpenAI's content management policy and was filtered.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation"},
}


class Azure:
    """The server. ``model`` is behind the deployment; ``bodies`` are the requests that it took."""

    def __init__(self) -> None:
        self.url, self.model = "", "gpt-5-mini-2025-08-07"
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("api-key") != KEY:
            return _error(401, "401", "Access denied due to invalid subscription key or wrong API endpoint.")
        if "api-version" not in request.query or not request.path.endswith("/chat/completions"):
            return _error(404, "404", "Resource not found")
        if request.match_info["deployment"] != DEPLOYMENT:
            return _error(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
        body = await request.json()
        if "max_tokens" in body or body.get("temperature", 1) != 1:
            name = "max_tokens" if "max_tokens" in body else "temperature"
            code = "unsupported_parameter" if name == "max_tokens" else "unsupported_value"
            error = {"message": f"Unsupported: '{name}' with this model.", "param": name, "code": code}
            return web.json_response({"error": error}, status=400)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if "poison" in body["messages"][-1]["content"]:
            return web.json_response({"error": FILTERED}, status=400)
        message = {"role": "assistant", "content": "yes"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 1}
        return web.json_response({"model": self.model, "choices": [choice], "usage": usage})


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


@contextmanager
def serve() -> Iterator[Azure]:
    """Start a server in a thread; ``url`` is the resource's."""
    azure = Azure()
    path = "/openai/deployments/{deployment}/{tail:.*}"
    with in_thread([web.get(path, azure.answer), web.post(path, azure.answer)]) as azure.url:
        yield azure
