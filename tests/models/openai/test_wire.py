"""OpenAI's chat wire: what is read out of replies and streams, and what is sent."""

from __future__ import annotations

import base64
import contextlib
import hashlib

import pytest
from aiohttp import web

from evalkit.errors import Overloaded, RequestRejected, ServerFailed
from evalkit.media.pixels import plain_png
from evalkit.model import read_reply
from evalkit.types import Image, Message, Request, Text
from tests.models.openai.replies import ASK, ask, delta, says, stream

# --- What is read out of a reply ---


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "4"}, "4", ""),
        ({"content": None}, "", ""),
        ({}, "", ""),
        ({"content": [{"type": "text", "text": "4"}]}, "4", ""),
        ({"content": "4", "reasoning_content": "2 and 2"}, "4", "2 and 2"),
        ({"content": "<think>\n2 and 2\n</think>\n\n4"}, "4", "2 and 2"),
        ({"content": "2 and 2</think>4"}, "4", "2 and 2"),
        ({"content": "<think>2 and"}, "", "2 and"),
        ({"content": "4, as I <think>"}, "", "4, as I"),  # it goes on to think, and says nothing after it
        ({"content": "<think>3?</think>4", "reasoning": "2 and 2"}, "4", "2 and 2\n\n3?"),
        ({"content": "4", "reasoning_details": [{"type": "reasoning.text", "text": "2 + 2"}]}, "4", "2 + 2"),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "2 and 2"}]},
                    {"type": "text", "text": "4"},
                ]
            },
            "4",
            "2 and 2",
        ),
    ],
)
async def test_text_and_reasoning(script, message, text, reasoning):
    script.chat(says({"choices": [{"message": message, "finish_reason": "stop"}]}))
    response = read_reply(ASK, await ask(script.url))
    assert (response.text, response.reasoning) == (text, reasoning)


async def test_usage_wherever_it_stands(script):
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "reasoning_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 3, "multimodal_tokens": {"image": 5}},
        "completion_tokens_details": None,
    }
    script.chat(says({"choices": [{"message": {"content": "x"}}], "usage": usage}))
    got = (await ask(script.url)).usage
    assert (got.prompt_tokens, got.completion_tokens, got.cached_tokens) == (9, 4, 3)
    assert (got.reasoning_tokens, got.image_tokens) == (2, 5)


# --- Streams ---


async def test_a_stream_with_null_deltas_and_without_done(script):
    usage = 'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}'
    script.chat(
        stream(
            ": ping",
            delta(role="assistant", content=None),
            delta(content="4"),
            delta(),
            delta("length"),
            usage,
        )
    )
    response = await ask(script.url, params="?stream=true")
    assert (response.text, response.finish_reason, response.usage.completion_tokens) == ("4", "length", 2)
    assert response.first_token_s is not None
    assert 0 < response.first_token_s <= response.latency_s


async def test_an_error_after_200_in_a_stream(script):
    script.chat(stream(delta(content="4"), 'data: {"error": {"message": "out of memory", "code": 500}}'))
    with pytest.raises(ServerFailed, match="out of memory"):
        await ask(script.url, params="?stream=true")
    script.chat(stream('data: {"object":"error","message":"context length","code":400}', "data: [DONE]"))
    with pytest.raises(RequestRejected, match="context length"):
        await ask(script.url, params="?stream=true")


async def test_an_error_inside_a_whole_reply_means_what_its_code_says(script):
    for code, error in ((400, RequestRejected), (429, Overloaded), ("server_error", ServerFailed)):
        script.chat(says({"error": {"message": "no luck", "code": code}}))
        with pytest.raises(error, match="no luck"):
            await ask(script.url)


async def test_a_stream_that_breaks_off(script):
    script.chat(stream(delta(content="4")), stream("data: {oops"))
    for _ in range(2):
        with pytest.raises(ServerFailed, match=r"ended a streamed reply|not JSON"):
            await ask(script.url, params="?stream=true")


async def test_a_long_line_in_a_stream(script):
    script.chat(stream(delta(content="x" * 1_000_000), delta("stop"), "data: [DONE]"))
    assert len((await ask(script.url, params="?stream=true")).text) == 1_000_000


async def test_a_stream_without_end_is_given_up(script):
    async def endless(request, _):
        response = web.StreamResponse()
        await response.prepare(request)
        events = (delta(content="x" * 1000) + "\n\n").encode() * 1000
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(events)
        return response

    script.chat(endless)
    with pytest.raises(RequestRejected, match="more than 256 MB"):
        await ask(script.url, params="?stream=true")


# --- What is sent ---


async def test_every_sampling_parameter_is_sent(script):
    script.chat(says("4"))
    request = Request(messages=ASK.messages, seed=3, stop=("\n",), extra={"min_tokens": 2})
    await ask(script.url, request)
    await ask(script.url, request, "?sampling=standard")
    full, standard = script.seen[0][1], script.seen[1][1]
    common = {"max_tokens": 512, "temperature": 0.0, "top_p": 1.0, "seed": 3, "stop": ["\n"], "min_tokens": 2}
    assert common.items() <= full.items()
    assert common.items() <= standard.items()
    assert {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}.items() <= full.items()
    assert "top_k" not in standard


async def test_images_go_byte_for_byte_and_in_order(script, tmp_path):
    script.chat(says("red"))
    path = tmp_path / "red.png"
    path.write_bytes(plain_png(64, 64, (220, 30, 30)))
    jpeg = Image.of(b"not really a jpeg", "image/jpeg")
    parts = (Text("first"), Image.open(path), Text("then"), jpeg)
    await ask(script.url, Request(messages=(Message("user", parts),)))
    sent = script.seen[0][1]["messages"][0]["content"]
    assert [part["type"] for part in sent] == ["text", "image_url", "text", "image_url"]
    head, _, body = sent[1]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert hashlib.sha256(base64.b64decode(body)).hexdigest() == parts[1].sha256
    assert base64.b64decode(sent[3]["image_url"]["url"].partition(",")[2]) == b"not really a jpeg"


async def test_plain_completions(script):
    async def complete(request, body):
        return web.json_response({"choices": [{"text": " 4", "finish_reason": "stop"}]})

    script.replies["/v1/completions"] = complete
    assert (await ask(script.url, Request(prompt="2+2="))).text == " 4"
    assert (await ask(script.url, ASK, "?api=completions")).text == " 4"
    assert [body["prompt"] for _, body in script.seen] == ["2+2=", "What is 2+2?"]
    with pytest.raises(RequestRejected, match="api=chat"):
        await ask(script.url, Request(messages=ASK.messages * 2), "?api=completions")
