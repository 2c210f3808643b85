"""The adapter against llama.cpp's own server: a real one that nobody here wrote."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from evalkit.errors import ProbeError, RequestRejected
from evalkit.media.pixels import plain_png
from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.types import Image, Message, Request, Requirements, Text, Tool, ToolCall


@pytest.fixture
async def tiny(llama_server):
    backend = load(f"openai:tiny@{llama_server}")
    probed = await backend.probe(Requirements())
    yield Model(wrap(backend, identity=probed.info.identity), adapter=backend, probed=probed)
    await backend.close()


async def test_probe_and_identity(llama_server):
    backend = load(f"openai:@{llama_server}")
    facts = (await backend.probe(Requirements(json_schema=True))).info
    await backend.close()
    assert backend.name == "openai:tiny"
    assert (facts.max_context, facts.max_running) == (8192, 4)
    assert facts.identity["model"] == "tiny"
    assert llama_server.rpartition(":")[2] not in str(facts.identity)


async def test_a_template_without_reasoning_ignores_an_effort_which_is_refused(llama_server):
    backend = load(f"openai:tiny@{llama_server}?effort=low")
    with pytest.raises(ProbeError, match="ignores effort=low"):
        await backend.probe(Requirements())
    await backend.close()


@pytest.mark.parametrize("options", ["effort=none", "reasoning_tokens=100"])
async def test_parameters_for_reasoning_are_taken(llama_server, options):
    backend = load(f"openai:tiny@{llama_server}?{options}")
    probed = await backend.probe(Requirements())
    response = await Model(backend, probed=probed).generate("What is the capital of France?", max_tokens=16)
    await backend.close()
    assert (response.text, probed.info.server["reasoning"]["channel"]) == ("Paris", "")


@pytest.mark.parametrize("params", ["", "?stream=true"])
async def test_chat(llama_server, params):
    backend = load(f"openai:tiny@{llama_server}{params}")
    model = Model(backend)
    response = await model.generate("What is the capital of France?", max_tokens=16)
    await backend.close()
    assert (response.text, response.finish_reason) == ("Paris", "stop")
    assert response.usage.prompt_tokens > 20
    assert response.usage.completion_tokens > 0
    assert (response.first_token_s is not None) == bool(params)


async def test_a_reply_that_is_cut(tiny):
    response = await tiny.generate("Tell me a story.", max_tokens=3)
    assert response.finish_reason == "length"
    assert response.usage.completion_tokens == 3


async def test_temperature_zero_is_greedy_and_seeds_repeat(tiny):
    die = [await tiny.generate("Roll a die.", max_tokens=4) for _ in range(4)]
    assert len({r.text for r in die}) == 1
    hot = {
        (await tiny.generate("Roll a die.", max_tokens=4, temperature=1.0, seed=s)).text for s in range(20)
    }
    assert len(hot) > 1
    twice = [
        (await tiny.generate("Roll a die.", max_tokens=4, temperature=1.0, seed=7)).text for _ in range(3)
    ]
    assert len(set(twice)) == 1


async def test_json_schema(tiny):
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "integer"}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    response = await tiny.generate("Give JSON.", max_tokens=64, json_schema=schema)
    assert isinstance(msgspec.json.decode(response.text)["answer"], int)


async def test_plain_completion_takes_no_template(tiny):
    response = await tiny.sender.send(Request(prompt="What is 2+2?", max_tokens=1))
    chat = await tiny.generate("What is 2+2?", max_tokens=1)
    assert response.usage.prompt_tokens < chat.usage.prompt_tokens


async def test_a_long_prompt_fits_and_a_too_long_one_is_rejected(tiny):
    fits = await tiny.generate("word " * 1500, max_tokens=4)
    assert fits.usage.prompt_tokens > 3000
    with pytest.raises(RequestRejected, match="context"):
        await tiny.generate("word " * 9000, max_tokens=4)


async def test_many_at_once(tiny):
    replies = await asyncio.gather(*(tiny.generate("What is 3+5?", max_tokens=8) for _ in range(40)))
    assert {r.text for r in replies} == {"8"}
    assert len(tiny.calls) == 40


async def test_missing_prompt_logprobs_are_refused_before_the_run(llama_server):
    backend = load(f"openai:tiny@{llama_server}")
    with pytest.raises(ProbeError, match="log-probabilities"):
        await backend.probe(Requirements(logprobs=True))
    with pytest.raises(RequestRejected, match="echo"):
        await backend.send(Request(prompt="What is", continuation=" 2"))
    await backend.close()


async def test_ignored_regex_and_images_are_refused_before_the_run(llama_server):
    backend = load(f"openai:tiny@{llama_server}")
    with pytest.raises(ProbeError, match="regex"):
        await backend.probe(Requirements(regex=True))
    with pytest.raises(ProbeError, match=r"needs images.*image input is not supported"):
        await backend.probe(Requirements(images=True))
    await backend.close()


async def test_an_image_is_seen(llava_server):
    backend = load(f"openai:tiny@{llava_server}")
    await backend.probe(Requirements(images=True))
    model = Model(backend)
    picture = Image.of(plain_png(64, 64, (220, 30, 30)))
    response = await model.generate("What colour is the image?", images=[picture], max_tokens=8)
    parts = (picture, Text("What colour is the image?"))
    same = await model.generate([Message("user", parts)], max_tokens=8)
    await backend.close()
    assert response.text == same.text == "red"


async def test_a_real_server_takes_tools_calls_and_results_and_a_model_without_tools_is_refused(llama_server):
    """The tiny model's chat template knows no tools: the server takes the request, and no call comes back."""
    backend = load(f"openai:tiny@{llama_server}")
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    turn = Message("assistant", "", (ToolCall("call00001", "weather", {"city": "Paris"}),))
    result = Message("tool", "rain", tool_call_id="call00001")
    question = Message("user", "What is the capital of France?")
    request = Request(
        messages=(question, turn, result), tools=(Tool("weather", "Weather.", schema),), max_tokens=8
    )
    response = await backend.send(request)
    assert (response.tool_calls, response.notes) == ((), ())
    with pytest.raises(ProbeError, match=r"ignores tools: .*llama-server --jinja"):
        await backend.probe(Requirements(tools=True))
    await backend.close()
