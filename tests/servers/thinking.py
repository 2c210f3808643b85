"""A server that thinks, in any channel and for a known length; each word is a token.

It stops where servers do: at ``max_tokens``, counted from the first word of the reasoning, and at stop
strings, which it looks for in the reasoning, too. Its reasoning names wrong answers, so that a reader which
takes it for the answer is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.servers.in_thread import in_thread

# Channels: a field of the message, or the opening and the closing mark in the text; "template" has opened it.
FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "hidden")
MARKS = {
    "think": ("<think>\n", "\n</think>\n\n"),
    "template": ("", "\n</think>\n\n"),
    "a word before": ("Okay.\n<think>", "</think>"),
    "THINK": ("[THINK]", "[/THINK]"),
    "harmony": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "harmony without tags": ("analysis", "assistantfinal"),
    "kimi": ("◁think▷", "◁/think▷"),
    "seed": ("<seed:think>", "</seed:think>"),
    "cohere": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    "thinking": ("<thinking>", "</thinking>"),
    "reasoning tag": ("<reasoning>", "</reasoning>"),
    "several blocks": ("<think>first</think><think>", "</think>"),
    "own": ("{{plan ", " plan}}"),
}
CHANNELS = (*FIELDS, *(name for name in MARKS if name != "own"))
THOUGHT = "maybe A. The answer is B? No: yes, 7."


@dataclass
class ThinkingModel:
    """The model. ``thinks``: the words that it thinks about a chat; ``answers``: its answer to one."""

    channel: str = "reasoning_content"
    thinks: Callable[[dict[str, Any]], int] = lambda body: 300
    answers: Callable[[dict[str, Any]], str] = lambda body: "343"
    calls: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda body: []  # of tools, beside the answer
    owned_by: str | None = None
    context: int | None = 40_960
    switch: str | None = None  # the variable of the chat template that switches reasoning: enable_thinking
    off: bool = False  # whether it is off where that is not set
    budget: str | None = None  # the parameter that limits reasoning: thinking_token_budget
    refuses: frozenset[str] = frozenset()  # parameters that get a 400
    counts: bool = True  # whether the usage tells the words of the reasoning
    strict: bool = True  # whether more tokens than the context has get a 400
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def models(self, request: web.Request) -> web.Response:
        entry = {"id": "thinker", "owned_by": self.owned_by, "max_model_len": self.context}
        return web.json_response({"data": [{name: value for name, value in entry.items() if value}]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        most = body.get("max_tokens") or body["max_completion_tokens"]
        prompt = self.prompt_tokens(body)
        for name in self.refuses & body.keys():
            return _refused(f"Unrecognized request argument supplied: {name}")
        if self.strict and self.context and prompt + most > self.context:
            return _refused(
                f"This model's maximum context length is {self.context} tokens. However, you requested "
                f"{prompt + most} tokens ({prompt} in the messages, {most} in the completion)"
            )
        return web.json_response(self.reply(body, most, prompt))

    def prompt_tokens(self, body: dict[str, Any]) -> int:
        off = self.switch is not None and not self._on(body)
        return len(str(body["messages"]).split()) + (4 if off else 0)

    def _on(self, body: dict[str, Any]) -> bool:
        return self.switch is None or body.get("chat_template_kwargs", {}).get(self.switch, not self.off)

    def reply(self, body: dict[str, Any], most: int, prompt: int) -> dict[str, Any]:
        n = self.thinks(body) if self._on(body) else 0
        if self.budget and (budget := body.get(self.budget)) is not None:
            n = min(n, budget)
        words = THOUGHT.split()
        thought = [words[i % len(words)] for i in range(n)]
        answer = self.answers(body).split(" ")
        whole = n + len(answer) <= most
        shown = thought[:most], answer[: max(0, most - n)]
        message, finish = self.message(*(" ".join(part) for part in shown), closed=most > n, thinks=n > 0)
        if calls := self.calls(body):
            message["tool_calls"] = calls
        if not whole:
            finish = "length"
        for stop in body.get("stop", ()):
            if (place := message["content"].find(stop)) >= 0:
                message["content"], finish = message["content"][:place], "stop"
        details = {"completion_tokens_details": {"reasoning_tokens": min(n, most)}} if self.counts else {}
        completion = min(most, n + len(answer))
        return {
            "model": "thinker",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion, **details},
        }

    def message(self, thought: str, answer: str, *, closed: bool, thinks: bool) -> tuple[dict[str, Any], str]:
        message: dict[str, Any] = {"role": "assistant", "content": answer}
        if not thinks or self.channel == "hidden":
            return message, "stop"
        if self.channel in FIELDS and answer:  # SGLang's and vLLM's parsers leave the template's blank lines
            message["content"] = f"\n\n{answer}"
        if self.channel == "reasoning_details":
            message["reasoning_details"] = [{"type": "reasoning.text", "text": thought}]
        elif self.channel in FIELDS:
            message[self.channel] = thought
        else:
            begin, end = MARKS[self.channel]
            message["content"] = begin + thought + (end + answer if closed else "")
        return message, "stop"


def _refused(message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "invalid_request_error"}}, status=400)


@contextmanager
def serve(model: ThinkingModel) -> Iterator[ThinkingModel]:
    """Serve a model in a thread; ``url`` is then its address."""
    routes = [web.get("/v1/models", model.models), web.post("/v1/chat/completions", model.chat)]
    with in_thread(routes) as model.url:
        yield model
