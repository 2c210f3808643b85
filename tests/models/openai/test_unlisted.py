"""Models that a server does not list, or may not list: one question decides, or the user vouches for them."""

from __future__ import annotations

import pytest
from aiohttp import web

from evalkit.errors import ProbeError, RequestRejected
from evalkit.model import Model
from evalkit.models import load
from evalkit.types import Requirements


def lists(*names, status=200, error="not allowed"):
    async def handler(request, body):
        if status != 200:
            return web.json_response({"error": {"message": error}}, status=status)
        return web.json_response({"data": [{"id": name, "max_model_len": 4096} for name in names]})

    return handler


def answers(status=200, message="no such model"):
    async def handler(request, body):
        if status != 200:
            return web.json_response({"error": {"message": message}}, status=status)
        return web.json_response({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]})

    return handler


async def probe(script, name, listing, answer, params=""):
    script.replies["/v1/models"] = listing
    script.chat(answer)
    backend = load(f"openai:{name}@{script.url}{params}")
    try:
        return await backend.probe(Requirements())
    finally:
        await backend.close()


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        ("tiny:nitro", "tiny"),
        ("org/tiny:online", "org/tiny"),
        ("tiny", "tiny:latest"),
        ("tiny", "models/tiny"),
    ],
)
async def test_a_variant_of_a_listed_model_is_asked(script, asked, listed):
    result = await probe(script, asked, lists("other", listed), answers())
    assert result.name == f"openai:{asked}"
    assert (result.info.identity["model"], result.info.max_context) == (asked, 4096)
    assert {body["model"] for _, body in script.seen if body} == {asked}


@pytest.mark.parametrize("status", [403, 404, 405, 501])
async def test_a_server_that_shows_no_list_is_asked(script, status):
    result = await probe(script, "tiny", lists(status=status), answers())
    assert result.info.identity["model"] == "tiny"
    with pytest.raises(ProbeError, match=r"does not list its models: give the name"):
        await probe(script, "default", lists(status=status), answers())


async def test_a_key_that_may_neither_list_nor_chat_is_refused(script):
    with pytest.raises(ProbeError, match="key_env"):
        await probe(script, "tiny", lists(status=403), answers(403, "no"))
    with pytest.raises(ProbeError, match="key_env"):
        await probe(script, "tiny", lists(status=401), answers())


async def test_another_model_is_refused_unless_the_user_vouches_for_it(script):
    with pytest.raises(ProbeError, match=r"does not serve 'fine-tuned'.*\?unlisted=true"):
        await probe(script, "fine-tuned", lists("tiny"), answers())
    assert [path for path, _ in script.seen] == ["/v1/models"]  # some servers answer to any name
    result = await probe(script, "fine-tuned", lists("tiny"), answers(), "?unlisted=true")
    assert result.info.identity["model"] == "fine-tuned"
    with pytest.raises(ProbeError, match=r"does not list 'tiny:fast', and refuses it.*not a valid model"):
        await probe(script, "tiny:fast", lists("tiny"), answers(400, "tiny:fast is not a valid model ID"))
    with pytest.raises(ProbeError, match="404"):
        await probe(script, "fine-tuned", lists("tiny"), answers(404), "?unlisted=true")


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("Unsupported value: 'temperature' does not support 0 with this model.", "?extra.temperature=null"),
        ("Argument not supported on this model: presence_penalty", "?extra.presence_penalty=null"),
        ("`temperature` and `top_p` cannot both be specified for this model.", "?extra.top_p=null"),
        ("Unsupported parameter: 'stop'", "?extra.stop=null"),
    ],
)
async def test_a_refused_parameter_is_named_with_what_helps(script, message, advice):
    script.chat(answers(400, message))
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(RequestRejected) as caught:
        await Model(backend).generate("2+2?")
    await backend.close()
    assert str(caught.value).endswith(advice)


async def test_a_server_that_names_the_length_anew_gets_the_new_name(script):
    async def answer(request, body):
        if "max_tokens" in body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return web.json_response({"error": {"message": message}}, status=400)
        return await answers()(request, body)

    script.chat(answer)
    backend = load(f"openai:tiny@{script.url}")
    for _ in range(2):
        assert (await Model(backend).generate("2+2?", max_tokens=9)).text == "4"
    await backend.close()
    lengths = [(body.get("max_tokens"), body.get("max_completion_tokens")) for _, body in script.seen]
    assert lengths == [(9, None), (None, 9), (None, 9)]


async def test_a_message_that_only_mentions_a_parameter_gets_no_advice(script):
    script.chat(answers(400, "maximum context length is 10 tokens: lower max_tokens, and stop"))
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(RequestRejected) as caught:
        await Model(backend).generate("2+2?")
    await backend.close()
    assert "null" not in str(caught.value)


async def test_a_parameter_that_is_null_is_not_sent(script):
    script.chat(answers())
    backend = load(f"openai:tiny@{script.url}?temperature=null&extra.n=null&extra.user=me")
    await Model(backend).generate("2+2?", temperature=0.5)
    await backend.close()
    sent = script.seen[0][1]
    assert {"temperature", "n"}.isdisjoint(sent)
    assert (sent["user"], sent["top_p"]) == ("me", 1.0)


@pytest.mark.parametrize("nonsense", ["many", -1, 10**23, 1.5, [], None])
async def test_a_context_that_is_none_is_not_known(script, nonsense):
    async def listing(request, body):
        entry = {"id": "tiny", "max_model_len": nonsense, "meta": {"n_params": 10**23}}
        return web.json_response([entry])  # without a frame, as Together lists its models

    result = await probe(script, "tiny", listing, answers())
    assert result.info.max_context is None
    assert result.info.identity["parameters"] == str(10**23)
