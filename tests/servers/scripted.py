"""An OpenAI-compatible server in a thread, for commands that run as processes: a test controls its replies,
delays and failures. The probe's question about reasoning is answered apart from these, and not counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from evalkit.models.openai.media_probe import COLOUR
from evalkit.models.openai.probe import QUESTION
from tests.servers.in_thread import in_thread

PROBES = {QUESTION: "343", COLOUR: "red"}  # questions of the probe, which are answered and not counted


class Scripted:
    """The server. ``fault(n)``: (status, headers, body) for the n-th completion, from 1; None: no failure."""

    def __init__(self) -> None:
        self.url = ""
        self.delay_s = 0.0
        self.held = False  # requests come in and wait
        self.hangs_up = False  # after each reply
        self.requests = 0  # of any kind
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.reply: Callable[[str], str] = lambda question: "yes"
        self.fault: Callable[[int], tuple[int, dict[str, str], str] | None] = lambda n: None
        self.keys: set[str | None] = set()
        self.bodies: list[dict] = []
        self.entry: dict[str, Any] = {}  # more facts of the model in /v1/models
        self.started: float | None = None  # the start time that /metrics tells
        self.usage: Callable[[dict], dict[str, int]] = lambda body: {"prompt_tokens": 7}

    async def models(self, request: web.Request) -> web.Response:
        self.requests += 1
        entry = {"id": "tiny", "max_model_len": 8192, **self.entry}
        return web.json_response({"object": "list", "data": [entry]})

    async def metrics(self, request: web.Request) -> web.Response:
        if self.started is None:
            return web.Response(status=404)
        return web.Response(
            text=f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {self.started}"
        )

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        content = body["messages"][-1]["content"]
        if isinstance(content, str) and content in PROBES:
            message = {"content": PROBES[content]}
            return web.json_response(
                {"model": "tiny", "choices": [{"message": message, "finish_reason": "stop"}]}
            )
        self.requests += 1
        texts = [content] if isinstance(content, str) else [p["text"] for p in content if p["type"] == "text"]
        question = texts[-1]
        self.bodies.append(body)
        self.asked[question] += 1
        self.keys.add(request.headers.get("Authorization"))
        failure = self.fault(sum(self.asked.values()))
        if failure is not None:
            status, headers, text = failure
            return web.Response(status=status, headers=headers, text=text)
        await asyncio.sleep(self.delay_s)
        while self.held:
            await asyncio.sleep(0.01)
        answer = {"role": "assistant", "content": self.reply(question)}
        self.answered[question] += 1
        reply = web.json_response(
            {
                "id": "1",
                "object": "chat.completion",
                "model": "tiny",
                "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}],
                "usage": {"completion_tokens": 2, **self.usage(body)},
            }
        )
        if self.hangs_up:
            reply.force_close()
        return reply


@contextmanager
def serve() -> Iterator[Scripted]:
    """Start a server in a thread."""
    scripted = Scripted()
    routes = [
        web.get("/v1/models", scripted.models),
        web.get("/metrics", scripted.metrics),
        web.post("/v1/chat/completions", scripted.chat),
    ]
    with in_thread(routes) as scripted.url:
        yield scripted
