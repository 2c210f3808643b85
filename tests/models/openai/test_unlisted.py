"""Models that a server does not list, or may not list: one question decides, or the user vouches for them."""

from __future__ import annotations

import pytest
from aiohttp import web

from evalkit.errors import ProbeError
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
        ("org/tiny:free", "org/tiny"),
        ("tiny", "tiny:latest"),
        ("tiny", "models/tiny"),
    ],
)
async def test_a_variant_of_a_listed_model_is_asked(script, asked, listed):
    result = await probe(script, asked, lists("other", listed), answers())
    assert result.name == f"openai:{asked}"
    assert (result.info.identity["model"], result.info.max_context) == (asked, 4096)
    assert {body["model"] for _, body in script.seen if body} == {asked}


@pytest.mark.parametrize(("api", "path"), [("completions", "completions"), ("responses", "responses")])
async def test_a_server_without_the_interface_is_refused_before_the_run(script, api, path):
    with pytest.raises(ProbeError, match=f"/v1/{path} answered 404.*another with .api=chat"):
        await probe(script, "tiny", lists("tiny"), answers(), f"?api={api}")


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


@pytest.mark.parametrize("nonsense", ["many", -1, 10**23, 1.5, [], None])
async def test_a_context_that_is_none_is_not_known(script, nonsense):
    async def listing(request, body):
        entry = {"id": "tiny", "max_model_len": nonsense, "meta": {"n_params": 10**23}}
        return web.json_response([entry])  # without a frame, as Together lists its models

    result = await probe(script, "tiny", listing, answers())
    assert result.info.max_context is None
    assert result.info.identity["parameters"] == str(10**23)
