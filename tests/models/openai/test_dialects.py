"""Replies in forms that the standards do not foresee, or that nobody asked for: read all the same."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from evalkit.errors import ModelError, ServerFailed
from evalkit.models import load
from evalkit.types import Message, Request

ASK = Request(messages=(Message("user", "What is 2+2?"),))
WHOLE = {"model": "tiny", "choices": [{"index": 0, "message": {"content": "4 é"}, "finish_reason": "stop"}]}


def part(content, finish=None):
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


def raw(body: bytes, kind: str = "application/json"):
    async def handler(request, _):
        return web.Response(body=body, headers={"Content-Type": kind})

    return handler


async def ask(script, body: bytes, params: str = "", kind: str = "application/json"):
    script.chat(raw(body, kind))
    backend = load(f"openai:tiny@{script.url}{params}")
    try:
        return await backend.send(ASK)
    finally:
        await backend.close()


def sse(*documents, end="\n", blank="\n"):
    lines = [f"data: {json.dumps(document)}{end}{blank}" for document in documents]
    return ("".join(lines) + f"data: [DONE]{end}{blank}").encode()


STREAM = (part("4 "), part("é"), part("", "stop"))
PRETTY = "\n".join(f"data: {line}" for line in json.dumps(part("4 é", "stop"), indent=1).splitlines())
BODIES = {
    "as asked for": json.dumps(WHOLE).encode(),
    "with a mark of the byte order": b"\xef\xbb\xbf" + json.dumps(WHOLE).encode(),
    "in UTF-16": json.dumps(WHOLE, ensure_ascii=False).encode("utf-16"),
    "JSON with [DONE] behind it": json.dumps(WHOLE).encode() + b"\n\ndata: [DONE]\n\n",
    "a stream": sse(*STREAM),
    "a stream with the mark": b"\xef\xbb\xbf" + sse(*STREAM),
    "lines that end with CR LF": sse(*STREAM, end="\r\n", blank="\r\n"),
    "lines that end with CR": sse(*STREAM, end="\r", blank="\r"),
    "no blank lines": sse(*STREAM, blank=""),
    "comments, names and numbers of events": b": hello\nid: 1\nevent: message\nretry: 3\n" + sse(*STREAM),
    "an event on several lines": f"{PRETTY}\n\ndata: [DONE]\n\n".encode(),
    "no [DONE]": sse(*STREAM).removesuffix(b"data: [DONE]\n\n"),
    "a whole message in one event": sse(WHOLE),
}


@pytest.mark.parametrize("params", ["", "?stream=true"])
@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
async def test_a_reply_is_read_whether_it_is_streamed_or_not(script, body, params):
    assert (await ask(script, body, params)).text == "4 é"
    assert (await ask(script, body, params, "text/event-stream")).text == "4 é"


@pytest.mark.parametrize("params", ["", "?stream=true"])
@pytest.mark.parametrize(
    "body",
    [
        b"<html><img src='data:image/png;base64,xx'></html>",
        b"data: {oops\n\ndata: [DONE]\n\n",
        sse(part("4")).removesuffix(b"data: [DONE]\n\n"),
        b"data: {" + b"\ndata: {" * 2000,
        b"[" * 100_000,
        b"",
    ],
)
async def test_what_is_neither_is_a_failure_of_the_server(script, body, params):
    with pytest.raises(ServerFailed):
        await ask(script, body, params)


async def test_an_error_in_a_stream_that_nobody_asked_for(script):
    with pytest.raises(ModelError, match="out of memory"):
        await ask(script, sse(part("4"), {"error": {"message": "out of memory", "code": 500}}))


@pytest.mark.parametrize("cut", range(1, 40, 7))
async def test_a_line_end_that_two_chunks_share(script, cut):
    body = sse(*STREAM, end="\r\n", blank="\r\n")
    place = body.index(b"\r\n") + 1 if cut == 1 else cut

    async def handler(request, _):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(body[:place])
        await response.write(body[place:])
        return response

    script.chat(handler)
    backend = load(f"openai:tiny@{script.url}?stream=true")
    assert (await backend.send(ASK)).text == "4 é"
    await backend.close()


@pytest.mark.parametrize("params", ["", "?stream=true"])
async def test_half_an_emoji_is_read_as_the_replacement_character(script, params):
    reply = {
        "choices": [{"message": {"content": "yes \ud83d", "reasoning": "\ude00"}, "finish_reason": "length"}]
    }
    response = await ask(script, json.dumps(reply).encode(), params)
    assert (response.text, response.reasoning, response.finish_reason) == ("yes �", "�", "length")


async def test_the_halves_of_an_emoji_in_two_events_are_one(script):
    body = sse(part("a \ud83d"), part("\ude00 b"), part("", "stop"))
    assert (await ask(script, body, "?stream=true")).text == "a 😀 b"


async def test_half_an_emoji_in_a_prompt_is_sent_as_the_replacement_character(script):
    script.chat(raw(json.dumps(WHOLE).encode()))
    backend = load(f"openai:tiny@{script.url}")
    await backend.send(Request(messages=(Message("user", "What \ud83d?"),)))
    await backend.close()
    assert script.seen[0][1]["messages"][0]["content"] == "What �?"


@pytest.mark.parametrize(
    "nonsense", [-5, 2**62, 10**23, 1.5, float("nan"), float("-inf"), "many", True, [], {}, None]
)
async def test_a_count_of_tokens_that_is_none_harms_itself_alone(script, nonsense):
    usage = {
        "prompt_tokens": nonsense,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": nonsense},
        "completion_tokens_details": {"reasoning_tokens": nonsense},
    }
    got = (await ask(script, json.dumps({**WHOLE, "usage": usage}).encode())).usage
    assert (got.prompt_tokens, got.completion_tokens, got.cached_tokens, got.reasoning_tokens) == (0, 2, 0, 0)


async def test_counts_in_other_forms_and_a_usage_that_is_none(script):
    usage = {"prompt_tokens": 7.0, "completion_tokens": "2", "prompt_tokens_details": 3}
    got = (await ask(script, json.dumps({**WHOLE, "usage": usage}).encode())).usage
    assert (got.prompt_tokens, got.completion_tokens) == (7, 2)
    assert (await ask(script, json.dumps({**WHOLE, "usage": "none"}).encode())).text == "4 é"


@pytest.mark.parametrize(
    ("asked", "answered", "noted"),
    [
        ("tiny", "tiny", False),
        ("tiny", "", False),
        ("tiny", "org/Tiny", False),
        ("tiny", "tiny-2025-04-14", False),
        ("tiny-0613", "tiny", False),
        ("org/tiny:nitro", "org/tiny", False),
        ("tiny", "/models/tiny.gguf", False),
        ("tiny-0613", "tiny-1106", True),
        ("tiny", "tiny-mini", True),
        ("tiny", "some/other-model-8b", True),
    ],
)
async def test_a_reply_by_another_model_is_noted(script, asked, answered, noted):
    script.chat(raw(json.dumps({**WHOLE, "model": answered}).encode()))
    backend = load(f"openai:{asked}@{script.url}")
    response = await backend.send(ASK)
    await backend.close()
    assert response.notes == ((f"another model answered: {answered}",) if noted else ())


@pytest.mark.parametrize(
    ("usage", "completion", "reasoning"),
    [
        # xAI: the total holds what the model thought, completion_tokens does not
        ({"completion_tokens": 2, "total_tokens": 209, "reasoning_tokens": 200}, 202, 200),
        # Perplexity: neither does
        ({"completion_tokens": 2, "total_tokens": 9, "reasoning_tokens": 200}, 202, 200),
        # Gemini behind OpenAI's interface: the total alone tells
        ({"completion_tokens": 2, "total_tokens": 209}, 202, 200),
        ({"completion_tokens": 202, "total_tokens": 209, "reasoning_tokens": 200}, 202, 200),
        ({"completion_tokens": 2, "total_tokens": 9}, 2, 0),
        ({"completion_tokens": 2, "total_tokens": 0}, 2, 0),
    ],
)
async def test_tokens_that_the_model_thought_are_among_those_of_the_reply(
    script, usage, completion, reasoning
):
    details = {"completion_tokens_details": {"reasoning_tokens": usage.pop("reasoning_tokens", None)}}
    body = json.dumps({**WHOLE, "usage": {"prompt_tokens": 7, **usage, **details}}).encode()
    got = (await ask(script, body)).usage
    assert (got.prompt_tokens, got.completion_tokens, got.reasoning_tokens) == (7, completion, reasoning)
