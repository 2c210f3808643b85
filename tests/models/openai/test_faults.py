"""What servers do wrong, served by a real HTTP server, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from evalkit.errors import ModelError, Overloaded, ProbeError, RequestRejected, ServerFailed
from evalkit.models import load
from evalkit.models.middleware.retrying import Retrying
from evalkit.models.openai.http_errors import rates_left
from evalkit.types import Request, Requirements
from tests.models.openai.replies import ASK, ask, delta, raw, says, stream


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, {"error": {"message": "bad key"}}, ProbeError, ["401", "bad key", "key_env"]),
        (403, {"detail": "no"}, ProbeError, ["403", "no"]),
        (
            404,
            {"error": {"message": "The model `tiny` does not exist.", "code": 404}},
            ProbeError,
            ["`tiny`"],
        ),
        (404, {"error": "nothing here"}, RequestRejected, ["404", "nothing here"]),
        (
            400,
            {"object": "error", "message": "maximum context length of 1024"},
            RequestRejected,
            ["context length"],
        ),
        (400, {"error": "unknown field `top_k`"}, RequestRejected, ["unknown field `top_k`"]),
        (422, {"detail": [{"loc": ["body"], "msg": "extra"}]}, RequestRejected, ["422", "extra"]),
        (429, {"error": {"message": "no money", "code": "insufficient_quota"}}, ProbeError, ["no money"]),
        (429, {"error": {"message": "slow down"}}, Overloaded, ["slow down"]),
        (503, {"error": {"message": "The request queue is full."}}, Overloaded, ["queue is full"]),
        (408, {}, ServerFailed, ["408"]),
        (409, {}, ServerFailed, ["409"]),
        (425, {}, ServerFailed, ["425"]),
        (410, {}, RequestRejected, ["410"]),
        (500, {"error": {"message": "boom", "code": 500}}, ServerFailed, ["500", "boom"]),
    ],
)
async def test_statuses_and_error_bodies(script, status, body, error, words):
    script.chat(says(body, status))
    with pytest.raises(error) as caught:
        await ask(script.url)
    assert type(caught.value) is error
    for word in words:
        assert word in str(caught.value)


async def test_plain_text_and_empty_error_bodies(script):
    script.chat(raw(b"Failed to deserialize the JSON body", 422), raw(b"", 502))
    with pytest.raises(RequestRejected, match="Failed to deserialize"):
        await ask(script.url)
    with pytest.raises(ServerFailed, match="502"):
        await ask(script.url)


async def test_a_proxy_that_names_a_time_with_403_limits_the_rate(script):
    page = b"<html><head><title>Too fast</title></head></html>"
    script.chat(raw(page, 403, {"Retry-After": "60"}))
    with pytest.raises(Overloaded, match=r"403: Too fast \(a web page") as caught:
        await ask(script.url)
    assert caught.value.retry_after == 60


@pytest.mark.parametrize("as_date", [False, True])
async def test_retry_after_in_seconds_or_as_a_date(script, as_date):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    value = later if as_date else "60"
    script.chat(says({"error": {"message": "slow down"}}, 429, {"Retry-After": value}))
    with pytest.raises(Overloaded) as caught:
        await ask(script.url)
    assert caught.value.retry_after is not None
    assert 30 < caught.value.retry_after <= 60


async def test_a_date_is_meant_by_the_clock_of_the_server_that_names_it(script):
    there = datetime.now(UTC) - timedelta(hours=1)
    headers = {
        "Date": format_datetime(there, usegmt=True),
        "Retry-After": format_datetime(there + timedelta(seconds=60), usegmt=True),
    }
    script.chat(says({"error": {"message": "slow down"}}, 429, headers))
    with pytest.raises(Overloaded) as caught:
        await ask(script.url)
    assert caught.value.retry_after == 60


@pytest.mark.parametrize(("reset", "seconds"), [("1m2.5s", 62.5), ("20ms", 0.02), ("7", 7.0), ("soon", None)])
async def test_a_used_up_rate_says_when_it_is_reset(script, reset, seconds):
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": reset,
        "x-ratelimit-remaining-tokens": "9",
        "x-ratelimit-reset-tokens": "9h",
    }
    script.chat(says({"error": {"message": "slow down"}}, 429, headers))
    with pytest.raises(Overloaded) as caught:
        await ask(script.url)
    assert caught.value.retry_after == seconds


def test_what_is_left_of_rates_is_read_in_every_dialect():
    later = (datetime.now(UTC) + timedelta(seconds=60)).isoformat().replace("+00:00", "Z")
    openai = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert rates_left(openai) == {"requests": (59, 1, 60), "tokens": (149_984, 360, math.inf)}
    anthropic = {
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": later,
        "anthropic-ratelimit-tokens-limit": "8000",
    }
    left = rates_left(anthropic)["tokens"]
    assert (left.units, left.most) == (0, 8_000)
    assert 30 < left.reset_s <= 60
    assert rates_left({"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "1s"}) == {}
    assert rates_left({"x-ratelimit-remaining-requests": "3"}) == {}


async def test_the_key_is_sent_and_never_said(script, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    script.chat(says({"error": {"message": "wrong key sk-very-secret"}}, 401), raw(b"<sk-very-secret>"))
    for error in (ProbeError, ServerFailed):
        with pytest.raises(error) as caught:
            await ask(script.url, params="?key_env=MY_KEY")
        assert "sk-very-secret" not in str(caught.value)
    assert script.headers[0]["Authorization"] == "Bearer sk-very-secret"


async def test_a_vendor_without_a_key_is_refused(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ProbeError, match="OPENAI_API_KEY is not set"):
        load("openai:gpt-4o-mini")


@pytest.mark.parametrize("body", [b"<html>busy</html>", b"\xff\xfe", b"[]", b'{"choices": []}', b""])
async def test_garbage_is_a_failure_of_the_server(script, body):
    script.chat(raw(body))
    with pytest.raises(ServerFailed):
        await ask(script.url)


LATIN = json.dumps({"choices": [{"message": {"content": "déjà vu"}}]}, ensure_ascii=False).encode("latin-1")


@pytest.mark.parametrize("kind", ["application/json; charset=ISO-8859-1", 'text/plain; charset="latin1"'])
async def test_a_reply_in_another_character_set_is_read_where_it_says_so(script, kind):
    async def reply(request, _):
        return web.Response(body=LATIN, headers={"Content-Type": kind})

    script.chat(reply)
    assert (await ask(script.url)).text == "déjà vu"


@pytest.mark.parametrize(
    "charset", ["", "; charset=utf-8", "; charset=none-such", "; charset=rot13", "; charset=idna"]
)
async def test_a_reply_in_an_unknown_character_set_is_a_failure_of_the_server(script, charset):
    async def reply(request, _):
        return web.Response(body=LATIN, headers={"Content-Type": f"application/json{charset}"})

    script.chat(reply)
    with pytest.raises(ServerFailed, match="not JSON"):
        await ask(script.url)


async def test_utf_8_is_read_as_such_whatever_it_is_called(script):
    async def reply(request, _):
        body = LATIN.decode("latin-1").encode()
        return web.Response(body=body, headers={"Content-Type": "application/json; charset=latin-1"})

    script.chat(reply)
    assert (await ask(script.url)).text == "déjà vu"


async def test_a_reply_that_never_comes(script):
    async def silence(request, _):
        await asyncio.sleep(2)

    script.chat(silence)
    with pytest.raises(ServerFailed, match=r"did not answer in time.*timeout=0\.2 s"):
        await ask(script.url, params="?timeout=0.2")


async def test_a_stream_that_stands_still(script):
    async def stuck(request, _):
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(2)
        return response

    script.chat(stuck)
    with pytest.raises(ServerFailed, match=r"first_byte_timeout=0\.2 s"):
        await ask(script.url, params="?stream=true&first_byte_timeout=0.2")


async def test_a_stream_that_stalls_is_given_up_and_one_that_is_only_slow_is_not(script):
    async def halting(request, body):
        response = web.StreamResponse()
        await response.prepare(request)
        for word in ("a", "b", "c", "d"):
            await response.write((delta(content=word) + "\n\n").encode())
            await asyncio.sleep(0.4)
        if body["seed"] == 1:
            await asyncio.sleep(60)
        await response.write((delta("stop") + "\n\ndata: [DONE]\n\n").encode())
        return response

    script.chat(halting)
    params = "?stream=true&stall_timeout=1.5"
    slow, stalled = await asyncio.gather(
        *(ask(script.url, Request(messages=ASK.messages, seed=seed), params) for seed in (2, 1)),
        return_exceptions=True,
    )
    assert slow.text == "abcd"
    assert slow.latency_s >= 1.6
    assert slow.latency_s - slow.first_token_s > 0.8  # handed on as it came
    assert isinstance(stalled, ServerFailed)
    assert re.search(r"in the middle of a reply.*1\.5 s \(stall_timeout\)", str(stalled))


async def test_a_connection_that_breaks(script):
    async def hang_up(request, _):
        request.transport.abort()
        return web.Response()

    script.chat(hang_up)
    with pytest.raises(ServerFailed, match="broke"):
        await ask(script.url)


async def test_nothing_listens(unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(ServerFailed, match=r"nothing answers at .*Connection refused"):
        await ask(url)
    backend = load(f"openai:tiny@{url}")
    with pytest.raises(ProbeError, match=rf"Is the server running\? Start it.*--port {unused_tcp_port}"):
        await backend.probe(Requirements())
    await backend.close()


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("openai:gpt-4o-mini", "Behind a proxy, add ?proxy=URL"),
        ("anthropic:claude-sonnet-5", "Behind a proxy, add ?proxy=URL"),
        ("openai:tiny@https://gateway.example", "Is the server running? Check the URL"),
        ("anthropic:tiny@http://127.0.0.1:9", "Is the server running? Check the URL"),
        ("sglang:tiny", "launch_server --model-path MODEL --port 30000"),
    ],
)
async def test_what_to_do_where_nothing_answers(monkeypatch, spec: str, told: str):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "k")
    backend = load(spec)
    assert told in backend.how_to_reach(backend.endpoints.urls[0])
    await backend.close()


async def test_no_tls_and_no_such_host_say_so(script):
    secure = script.url.replace("http:", "https:")  # it speaks plain HTTP
    with pytest.raises(ServerFailed, match=r"no TLS connection to https.*write http://"):
        await ask(secure)
    with pytest.raises(ServerFailed, match=r"nothing answers at http://no-such-host\.invalid.*lookup"):
        await ask("http://no-such-host.invalid")
    for url in (secure, "http://no-such-host.invalid"):
        backend = load(f"openai:tiny@{url}")
        with pytest.raises(ProbeError, match=r"TLS|lookup"):
            await backend.probe(Requirements())
        await backend.close()


async def test_500_then_ok_is_tried_again(script):
    script.chat(says({}, 500), raw(b"???"), says("4"))
    backend = load(f"openai:tiny@{script.url}")
    retrying = Retrying(backend, base_s=0.001)
    response = await retrying.send(ASK)
    await backend.close()
    assert (response.text, response.retries) == ("4", 2)


async def test_a_rejected_request_is_not_tried_again(script):
    script.chat(says({"error": "no"}, 400))
    backend = load(f"openai:tiny@{script.url}")
    retrying = Retrying(backend, base_s=0.001)
    with pytest.raises(RequestRejected):
        await retrying.send(ASK)
    await backend.close()
    assert len(script.seen) == 1


async def test_wrong_model_name_lists_the_served_ones(script):
    backend = load(f"openai:tinyer@{script.url}")
    with pytest.raises(ProbeError, match=r"does not serve 'tinyer'. It serves: tinier, tiny"):
        await backend.probe(Requirements())
    await backend.close()


async def test_two_endpoints_must_serve_the_same_model(script):
    async def models(request, body):
        return web.json_response({"data": [{"id": "tiny", "max_model_len": len(script.seen)}]})

    script.replies["/v1/models"] = models
    backend = load(f"openai:tiny@{script.url},{script.url}/v1")
    with pytest.raises(ProbeError, match=r"different models: {'context': \(1, 2\)}"):
        await backend.probe(Requirements())
    await backend.close()


async def test_a_server_that_is_down_is_passed_over(script, unused_tcp_port):
    script.chat(says("4"))
    backend = load(f"openai:tiny@http://127.0.0.1:{unused_tcp_port},{script.url}")
    answers = await asyncio.gather(*(backend.send(ASK) for _ in range(5)))
    await backend.close()
    assert [a.text for a in answers] == ["4"] * 5


# --- what no second try can help


async def test_a_gigantic_reply_is_refused_before_it_fills_the_memory(script) -> None:
    sent = 0

    async def endless(request, body):
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 2**30:
                await response.write(b" " * 2**20)
                sent += 2**20
        except ConnectionError:
            pass
        return response

    script.replies["/v1/chat/completions"] = endless
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(RequestRejected, match=r"more than 256 MB"):
        await Retrying(backend).send(ASK)
    await backend.close()
    assert sent < 2**29


async def test_a_redirect_is_refused_and_the_key_goes_nowhere(script, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")

    async def moved(request, body):
        raise web.HTTPTemporaryRedirect(f"{script.url}/elsewhere")

    script.replies["/v1/chat/completions"] = moved
    backend = load(f"openai:tiny@{script.url}?key_env=MY_KEY")
    with pytest.raises(RequestRejected, match=r"a redirect to .*/elsewhere.*does not follow"):
        await Retrying(backend).send(ASK)
    await backend.close()
    assert [path for path, _ in script.seen] == ["/v1/chat/completions"]


def misshapen(document):
    """The document with each of its parts in turn as something else."""
    yield from (None, 5, "x", [], {}, [1], {"a": 1})
    inside = {dict: lambda: document.items(), list: lambda: enumerate(document)}
    for key, part in list(inside.get(type(document), list)()):
        for bad in misshapen(part):
            copy = document.copy()
            copy[key] = bad
            yield copy


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_of_any_shape_is_read_or_is_a_failure_of_the_request(script, streamed):
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    message = {"content": "4", "reasoning_content": "2 and 2", "refusal": None}
    choice = {"index": 0, "delta" if streamed else "message": message, "finish_reason": "stop"}
    right = {"model": "tiny", "choices": [choice], "usage": usage}
    backend = load(f"openai:tiny@{script.url}?stream={streamed}")
    for document in misshapen(right):
        script.chat(stream("data: " + json.dumps(document), "data: [DONE]") if streamed else says(document))
        try:
            response = await backend.send(ASK)
        except ModelError:
            continue
        assert isinstance(response.text, str), document
        assert isinstance(response.model, str), document
        assert isinstance(response.usage.prompt_tokens, int), document
    await backend.close()
