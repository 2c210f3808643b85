"""An OpenAI-compatible server of a model that thinks, with known laws of its lengths and of its answers.

Every question is a sum, ``17 + 25``. The number of tokens that the model thinks before its answer follows a
law that the test chooses; the answer has one more token and is right with a chance that does not depend on
the length. Both depend on the question and the seed only, so that another limit of tokens cuts the same
reply elsewhere. The server counts tokens as words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from tests.servers.in_thread import in_thread

Law = Callable[[random.Random], float]


class Lengths:
    """The server. A reply has at most ``most`` tokens, whatever the request allows."""

    def __init__(self, law: Law, right: float, most: int, seed: int = 0) -> None:
        self.url = ""
        self.law, self.right, self.most, self.seed = law, right, most, seed

    def reply(self, question: str, seed: int | None) -> tuple[int, str]:
        """Return the number of tokens of the whole reply, and its answer."""
        drawn = random.Random(f"{self.seed} {question} {seed or 0}")
        thought = max(1, round(self.law(drawn)))
        first, second = map(int, question.split(" + "))
        return thought + 1, str(first + second + (drawn.random() >= self.right))

    async def models(self, request: web.Request) -> web.Response:
        entry = {"id": "thinker", "object": "model", "max_model_len": 10 * self.most}
        return web.json_response({"object": "list", "data": [entry]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        question = body["messages"][-1]["content"]
        try:
            tokens, answer = self.reply(question, body.get("seed"))
        except ValueError:  # a question of a probe
            tokens, answer = 3, "ready"
        allowed = min(self.most, body.get("max_completion_tokens") or body.get("max_tokens") or self.most)
        used = min(tokens, allowed)
        whole = used == tokens
        message = {
            "role": "assistant",
            "content": answer if whole else "",
            "reasoning_content": "hm " * (used - whole),
        }
        usage = {
            "prompt_tokens": len(question.split()),
            "completion_tokens": used,
            "completion_tokens_details": {"reasoning_tokens": used - whole},
        }
        choice = {"index": 0, "message": message, "finish_reason": "stop" if whole else "length"}
        reply = {"id": "1", "object": "chat.completion", "model": "thinker", "choices": [choice]}
        return web.json_response({**reply, "usage": usage})


@contextmanager
def serve(law: Law, right: float, most: int, seed: int = 0) -> Iterator[Lengths]:
    """Start a server in a thread."""
    lengths = Lengths(law, right, most, seed)
    routes = [web.get("/v1/models", lengths.models), web.post("/v1/chat/completions", lengths.chat)]
    with in_thread(routes) as lengths.url:
        yield lengths
