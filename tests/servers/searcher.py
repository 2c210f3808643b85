"""A scripted model that calls a tool, behind OpenAI's interface: ``python -m tests.servers.searcher PORT``.

It knows no language, only rules: it searches for the question, then for what the question names, then for
both, as long as a search finds something new; then it answers with the conclusions of the abstracts that
share most words with the question, each cited by its number. Where a prompt shows passages it answers from
these. It reads nothing but the requests, and counts words as tokens.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from aiohttp import web

NAME = "searcher"
_PASSAGE = re.compile(r"^\[(\d+)\] (.+)$", re.MULTILINE)
_WORD = re.compile(r"[a-z]{4,}")
SENTENCES = 3


def reply(body: dict[str, Any]) -> dict[str, Any]:
    """Return the message that answers a request."""
    messages = body["messages"]
    first = next((m["content"] for m in messages if m["role"] == "user"), "")
    asked = re.search(r"^Question: (.+)$", first, re.MULTILINE)
    if asked is None:  # a probe, or another task
        return _call(body["tools"][0], "test", 0) if body.get("tools") else {"content": "yes"}
    told = [m["content"] for m in messages if m["role"] == "tool"]
    searches = _queries(asked[1])
    if (
        body.get("tools")
        and body.get("tool_choice") != "none"
        and len(told) < len(searches)
        and _goes_on(told)
    ):
        return _call(body["tools"][0], searches[len(told)], len(told))
    passages = dict(_PASSAGE.findall("\n".join([first, *told])))
    return {"content": _answer(asked[1], passages)}


def _queries(question: str) -> list[str]:
    named = re.findall(r"(?<=[a-z] )[A-Z][a-z]+ [a-z]+", question)
    rest = " ".join(_WORD.findall(question))
    return [question, *named[:1], f"{rest} final report"]


def _goes_on(told: list[str]) -> bool:
    """Return whether the last search found something new and another one is left."""
    return not told or (_PASSAGE.search(told[-1]) is not None and "Searches left: 0" not in told[-1])


def _call(tool: dict[str, Any], text: str, number: int) -> dict[str, Any]:
    """Return a call of a tool with the arguments that it requires: ``text``, or 1 where no text is wanted."""
    parameters = tool["function"]["parameters"]
    required = {name: parameters["properties"][name] for name in parameters.get("required", [])}
    arguments = {name: text if kind.get("type") == "string" else 1 for name, kind in required.items()}
    function = {"name": tool["function"]["name"], "arguments": json.dumps(arguments)}
    return {
        "content": None,
        "tool_calls": [{"id": f"call_{number}", "type": "function", "function": function}],
    }


def _answer(question: str, passages: dict[str, str]) -> str:
    wanted = set(_WORD.findall(question.lower()))

    def shared(number: str) -> tuple[int, int]:
        return len(wanted & set(_WORD.findall(passages[number].lower()))), -int(number)

    best = sorted(passages, key=shared, reverse=True)[:SENTENCES]
    if not best:
        return "The passages do not answer the question."
    return " ".join(f"{passages[n].rpartition('CONCLUSIONS: ')[2].rstrip('.')} [{n}]." for n in best)


async def chat(request: web.Request) -> web.Response:
    """Answer ``/v1/chat/completions``."""
    body = await request.json()
    message = {"role": "assistant", **reply(body)}
    written = message["content"] or message["tool_calls"][0]["function"]["arguments"]
    sent = json.dumps([body["messages"], body.get("tools", [])])
    usage = {"prompt_tokens": len(sent.split()), "completion_tokens": len(written.split())}
    finish = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return web.json_response(
        {"id": "1", "object": "chat.completion", "model": NAME, "choices": [choice], "usage": usage}
    )


async def models(request: web.Request) -> web.Response:
    """Answer ``/v1/models``."""
    return web.json_response({"object": "list", "data": [{"id": NAME, "max_model_len": 100_000}]})


ROUTES = [web.post("/v1/chat/completions", chat), web.get("/v1/models", models)]


if __name__ == "__main__":
    app = web.Application()
    app.add_routes(ROUTES)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
