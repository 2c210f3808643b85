"""The simulated server behind OpenAI-compatible HTTP: ``python -m benchmarks.simserver.http --port 18090``.

Prompts are split at blank lines, with four characters per token. The prompt's hash and the seed decide on a
reply's length. ``--scale 10`` speeds up the server's time ten times. ``--faults 429=0.1,500=0.05,reset=0.02``
makes these shares of the requests fail (``benchmarks.simserver.faults``). ``--says 256`` reports more slots
than the server has in SGLang's ``/v1/loads``, as if it were short of memory.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import zlib
from collections import Counter

from aiohttp import web

from benchmarks.simserver.faults import drawn, instead, read_faults, send
from benchmarks.simserver.server import Job, Server
from benchmarks.simserver.work import CHARS_PER_TOKEN
from evalkit.models.openai.probe import QUESTION


class LiveServer:
    """A simulated server in real time. ``asked`` and ``answered`` count requests by their reply."""

    def __init__(
        self,
        server: Server,
        *,
        scale: float,
        seed: int,
        faults: dict[str, float],
        says: int | None = None,
        root: str | None = None,
    ) -> None:
        self.server, self._scale, self._seed, self._faults = server, scale, seed, faults
        self._says, self._root = says, root
        self._wake = asyncio.Event()
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.most = self._now_running = 0

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/figures", self._figures)
        if self._says:
            app.router.add_get("/v1/loads", self._loads)
        app.cleanup_ctx.append(self._background)
        return app

    async def _background(self, app: web.Application):
        self._start = asyncio.get_running_loop().time()
        clock = asyncio.create_task(self._tick())
        yield
        clock.cancel()

    def _time(self) -> float:
        return (asyncio.get_running_loop().time() - self._start) * self._scale

    def _catch_up(self) -> None:
        """Process all events that are due."""
        now = self._time()
        while (when := self.server.when()) <= now:
            for job in self.server.advance(when):
                if not job.tag.done():
                    job.tag.set_result(None)
        self.server.advance(now)

    async def _tick(self) -> None:
        while True:
            self._catch_up()
            self._wake.clear()
            left = (self.server.when() - self._time()) / self._scale
            try:
                await asyncio.wait_for(self._wake.wait(), None if math.isinf(left) else max(0.0, left))
            except TimeoutError:
                continue

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["messages"][-1]["content"] == QUESTION:  # the probe's
            return web.json_response({"model": body["model"], "choices": [{"message": {"content": "343"}}]})
        pieces = "\n\n".join(_content(m) for m in body["messages"]).split("\n\n")
        said = reply_to("\n\n".join(pieces), self._seed)
        key = int(said.removeprefix("reply "))
        self.asked[said] += 1
        streamed = bool(body.get("stream"))
        fault = drawn(self._faults, key, self.asked[said])
        if (failure := await instead(fault, request, streamed)) is not None:
            return failure
        length = 120 * math.exp(random.Random(key).gauss(0, 0.9))
        job = Job(
            [(piece, max(1, len(piece) // CHARS_PER_TOKEN)) for piece in pieces],
            max(1, min(int(body.get("max_tokens", 512)), round(length))),
            asyncio.get_running_loop().create_future(),
        )
        self._now_running += 1
        self.most = max(self.most, self._now_running)
        self._catch_up()
        self.server.submit(job)
        self._wake.set()
        try:
            await job.tag
        finally:
            self._now_running -= 1
        try:
            response = await send(fault, request, _reply(body["model"], job, said), streamed)
        except ConnectionError:  # the client closed the connection
            return web.Response()
        if fault is None:
            self.answered[said] += 1
        return response

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": "sim", "object": "model", "root": self._root}]}
        )

    async def _loads(self, request: web.Request) -> web.Response:
        self._catch_up()
        counts = {"num_running_reqs": self.server.running, "num_waiting_reqs": self.server.waiting}
        return web.json_response({"loads": [counts | {"max_running_requests": self._says}]})

    async def _figures(self, request: web.Request) -> web.Response:
        server = self.server
        hits = server.cached_tokens / max(1, server.prompt_tokens)
        figures = {"virtual_s": server.now, "hits": hits, "most_at_once": self.most, "asked": self.asked}
        return web.json_response(figures)


def reply_to(prompt: str, seed: int = 1) -> str:
    """Return the server's reply to a prompt."""
    return f"reply {zlib.crc32(prompt.encode(), seed)}"


def _content(message: dict) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n\n".join(str(part) for part in content)


def _reply(model: str, job: Job, text: str) -> dict:
    usage = {
        "prompt_tokens": job.prompt,
        "completion_tokens": job.output,
        "prompt_tokens_details": {"cached_tokens": job.cached},
    }
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=18090)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--cache", type=int, default=24_000)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--says", type=int)
    parser.add_argument("--faults", type=read_faults, default={})
    options = parser.parse_args()
    server = Server(slots=options.slots, cache=options.cache)
    live = LiveServer(
        server, scale=options.scale, seed=options.seed, faults=options.faults, says=options.says
    )
    web.run_app(live.application(), host="127.0.0.1", port=options.port, print=None)


if __name__ == "__main__":
    main()
