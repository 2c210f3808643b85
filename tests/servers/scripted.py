"""An OpenAI-compatible server in a thread, for commands that run as processes: it counts, waits and fails
as a test tells it to."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web


class Scripted:
    """``fault(n)`` is asked before the n-th completion (from 1): None, or (status, headers, body)."""

    def __init__(self) -> None:
        self.url = ""
        self.delay_s = 0.0
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.reply: Callable[[str], str] = lambda question: "yes"
        self.fault: Callable[[int], tuple[int, dict[str, str], str] | None] = lambda n: None
        self.keys: set[str | None] = set()
        self.bodies: list[dict] = []
        self.usage: Callable[[dict], dict[str, int]] = lambda body: {"prompt_tokens": 7}

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "tiny", "max_model_len": 8192}]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        content = body["messages"][-1]["content"]
        texts = [content] if isinstance(content, str) else [p["text"] for p in content if p["type"] == "text"]
        question = texts[-1]
        self.asked[question] += 1
        self.keys.add(request.headers.get("Authorization"))
        failure = self.fault(sum(self.asked.values()))
        if failure is not None:
            status, headers, text = failure
            return web.Response(status=status, headers=headers, text=text)
        await asyncio.sleep(self.delay_s)
        answer = {"role": "assistant", "content": self.reply(question)}
        self.answered[question] += 1
        return web.json_response(
            {
                "id": "1", "object": "chat.completion", "model": "tiny",
                "choices": [{"index": 0, "message": answer, "finish_reason": "stop"}],
                "usage": {"completion_tokens": 2, **self.usage(body)},
            }
        )  # fmt: skip


@contextmanager
def serve() -> Iterator[Scripted]:
    """Start on a free port of the loopback interface, in a thread with an event loop of its own."""
    scripted = Scripted()
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=2**28)
        app.router.add_get("/v1/models", scripted.models)
        app.router.add_post("/v1/chat/completions", scripted.chat)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield scripted
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
