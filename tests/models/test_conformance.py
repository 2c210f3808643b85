"""One suite for all adapters: the same scenarios against a stand-in for each kind of server.

A scenario says what is asked and what is answered; ``tests/servers/dialects.py`` says how each server writes
it. ``lacks`` names what a server's interface does not have: the adapter must then refuse it.
"""

from __future__ import annotations

import base64
import json

import pytest

from evalkit.errors import Overloaded, ProbeError, RequestRejected, ServerFailed
from evalkit.models import load
from evalkit.types import Image, Message, Request, Requirements, Text, Usage
from tests.models.stage import KEY, Stage, place
from tests.servers.dialects import DIALECTS, Said, Tokens

PICTURES = (Image.of(b"\x89PNG first", "image/png"), Image.of(b"\xff\xd8 second", "image/jpeg"))
ASK = Request(messages=(Message("user", "What is it?"),))
SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}, "required": ["verdict"]}
pytestmark = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)


async def test_a_text(stage):
    response, body = await stage.ask(Said("Aspirin — 81 mg."))
    assert (response.text, response.finish_reason, response.model) == ("Aspirin — 81 mg.", "stop", "tiny")
    assert (response.reasoning, response.tool_calls, response.notes) == ("", (), ())
    place(body, "What is it?")
    assert stage.limit(body) == ASK.max_tokens


async def test_system_and_several_turns_arrive_in_order(stage):
    turns = ("system", "Be short."), ("user", "First?"), ("assistant", "One."), ("user", "Second?")
    _, body = await stage.ask(Said("Two."), Request(messages=tuple(Message(*turn) for turn in turns)))
    places = [place(body, text) for _, text in turns[1:]]
    assert places == sorted(places)
    place(body, "Be short.")


async def test_pictures_arrive_byte_for_byte_between_the_texts(stage):
    parts = (Text("Before."), PICTURES[0], Text("Between."), PICTURES[1], Text("After."))
    request = Request(messages=(Message("user", parts),))
    _, body = await stage.ask(Said("A lung.", tokens=Tokens(prompt=0)), request)
    texts = [part.text if isinstance(part, Text) else base64.b64encode(part.data).decode() for part in parts]
    places = [place(body, text) for text in texts]
    assert places == sorted(places)


async def test_a_schema_goes_along_whole(stage):
    _, body = await stage.ask(Said('{"verdict": "yes"}'), Request(messages=ASK.messages, json_schema=SCHEMA))
    assert json.dumps(SCHEMA) in json.dumps(body)


async def test_reasoning_is_apart_from_the_text(stage):
    said = Said("408.", thought="17 times 24.", tokens=Tokens(answer=3, thought=40))
    response, _ = await stage.ask(said)
    assert (response.text, response.reasoning) == ("408.", "17 times 24.")
    assert (response.usage.completion_tokens, response.usage.reasoning_tokens) == (43, 40)


async def test_a_cut_reply(stage):
    response, _ = await stage.ask(Said("It is", finish="length"))
    assert (response.text, response.finish_reason, response.cut_in_reasoning) == ("It is", "length", False)
    thinking = Said(thought="Let me see", finish="length", tokens=Tokens(answer=0, thought=90))
    response, _ = await stage.ask(thinking)
    assert response.cut_in_reasoning


async def test_a_refusal(stage):
    response, _ = await stage.ask(Said("I cannot help with this.", finish="refusal"))
    assert (response.text, response.finish_reason) == ("I cannot help with this.", "refusal")


async def test_a_request_that_the_filter_refuses_is_a_refusal(stage):
    stage.answers(400, stage.dialect.error(400, "Output blocked by content filtering policy"))
    response = await stage.backend.send(ASK)
    assert (response.text, response.finish_reason) == ("", "refusal")
    assert "content filter" in response.notes[0]


async def test_another_models_name_in_a_reply_is_noted_also_in_a_batch(stage):
    reply = json.loads(json.dumps(stage.dialect.reply(Said("Yes."))).replace('"tiny"', '"vendor/other-8b"'))
    stage.answers(200, reply)
    for response in (await stage.backend.send(ASK), stage.backend.answer(reply, ASK)):
        assert (response.text, response.model) == ("Yes.", "vendor/other-8b")
        assert response.notes == ("another model answered: vendor/other-8b",)


async def test_nothing_said_is_an_empty_reply(stage):
    response, _ = await stage.ask(Said(""))
    assert (response.text, response.finish_reason, response.tool_calls) == ("", "stop", ())


async def test_all_tokens_are_counted_once(stage):
    written = 0 if "cache_write" in stage.dialect.lacks else 20
    response, _ = await stage.ask(
        Said("Yes.", tokens=Tokens(100, cached=60, written=written, answer=5, thought=9))
    )
    assert response.usage == Usage(
        prompt_tokens=100,
        completion_tokens=14,
        cached_tokens=60,
        reasoning_tokens=9,
        cache_write_tokens=written,
    )


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_an_overloaded_server_is_left_alone_as_long_as_it_says(stage, status):
    stage.answers(status, stage.dialect.error(status, "Overloaded"), {"Retry-After": "17"})
    with pytest.raises(Overloaded, match="Overloaded") as caught:
        await stage.backend.send(ASK)
    assert (caught.value.status, caught.value.retry_after) == (status, 17)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, None), (502, "<html>Bad gateway</html>"), (200, "{oops"), (200, "[]"), (200, "{}"), (200, "7")],
)
async def test_what_is_no_reply_is_a_failure_of_the_server(stage, status, body):
    stage.answers(status, stage.dialect.error(500, "Internal error") if body is None else body)
    with pytest.raises(ServerFailed):
        await stage.backend.send(ASK)


async def test_a_wrong_key_stops_the_run_and_is_not_repeated(stage):
    stage.answers(401, stage.dialect.error(401, f"the key {KEY} is not valid"))
    with pytest.raises(ProbeError, match="key_env") as caught:
        await stage.backend.send(ASK)
    assert KEY not in str(caught.value)


async def test_a_refused_request_is_not_tried_again(stage):
    stage.answers(400, stage.dialect.error(400, "the prompt is too long"))
    with pytest.raises(RequestRejected, match="too long"):
        await stage.backend.send(ASK)


async def test_the_probe_finds_the_model(stage):
    stage.answers(200, stage.dialect.reply(Said("343")))
    probed = await stage.backend.probe(Requirements())
    assert probed.name.startswith(stage.dialect.spec.partition("@")[0])
    assert probed.info.identity["model"] == "tiny"
    assert probed.info.identity["provider"] == stage.backend.spec.provider


async def test_the_probe_names_the_models_that_are_there(script, dialect):
    stage = Stage(script, dialect)
    backend = load(dialect.spec.replace("tiny", "tinny").format(url=script.url))
    with pytest.raises(ProbeError, match=r"does not serve 'tinny'.*tiny"):
        await backend.probe(Requirements())
    for each in (stage.backend, backend):
        await each.close()


async def test_what_the_interface_lacks_is_refused_with_the_reason(stage):
    stage.answers(200, stage.dialect.reply(Said("343")))
    lacking = {
        "prompt": (Request(prompt="One, two,"), "plain prompt"),
        "regex": (Request(messages=ASK.messages, regex="yes|no"), "regex"),
        "logprobs": (Request(prompt="One,", continuation=" two"), "log-probabilities"),
    }
    for name in lacking.keys() & stage.dialect.lacks:
        request, why = lacking[name]
        with pytest.raises(RequestRejected, match=why):
            await stage.backend.send(request)
    if "logprobs" in stage.dialect.lacks:
        with pytest.raises(ProbeError, match="log-probabilities"):
            await stage.backend.probe(Requirements(logprobs=True))
