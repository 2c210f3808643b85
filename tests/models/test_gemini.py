"""What is Gemini's alone: where parameters go, calls without ids, keys, waiting times in the body."""

from __future__ import annotations

import json

import pytest
from google.genai import types as google

from evalkit.errors import Overloaded, ProbeError, RequestRejected, UsageError
from evalkit.models import load
from evalkit.models.gemini import payload, read, thinking_of
from evalkit.models.reasoning import Reasoning
from evalkit.types import Message, Request, Requirements, ToolCall
from tests.models.stage import ASK, Stage, answering
from tests.servers.dialects import DIALECTS, GEMINI_MODEL, Said

GEMINI = next(dialect for dialect in DIALECTS if dialect.name == "gemini")


def test_further_parameters_go_where_gemini_has_them():
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    extra = {"topK": 40, "safetySettings": safety, "temperature": None, "max_tokens": None}
    body = payload(Request(messages=ASK.messages, extra=extra))
    assert body["safetySettings"] == safety
    assert body["generationConfig"] == {"topP": 1.0, "topK": 40}


def test_extra_thinking_settings_join_those_of_the_spec():
    request = Request(messages=ASK.messages, extra={"thinkingConfig": {"includeThoughts": False}})
    body = payload(request, thinking_of(Reasoning("low")))
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW", "includeThoughts": False}


def test_calls_without_ids_get_some_that_are_not_sent():
    part = {"functionCall": {"name": "now", "args": {}}}
    reply = {"candidates": [{"content": {"parts": [part, part]}, "finishReason": "STOP"}], "responseId": "r7"}
    response = read(reply, ASK, "gemini")
    calls = response.tool_calls
    assert len({call.id for call in calls}) == 2
    spoken = Message("assistant", "", tool_calls=calls, native=response.native)
    results = [Message("tool", text, tool_call_id=c.id) for c, text in zip(calls, "ab", strict=True)]
    body = payload(Request(messages=(*ASK.messages, spoken, *results)))
    assert body["contents"][1]["parts"] == [part, part]
    answers = [part["functionResponse"] for part in body["contents"][2]["parts"]]
    assert answers == [{"name": "now", "response": {"result": text}} for text in "ab"]


def test_a_result_of_no_call_is_refused():
    stray = Message("tool", "12:00", tool_call_id="c9")
    with pytest.raises(RequestRejected, match="no earlier message calls a tool with the id 'c9'"):
        payload(Request(messages=(*ASK.messages, stray)))


def test_a_system_message_after_the_beginning_is_refused():
    with pytest.raises(RequestRejected, match="role system only at the beginning"):
        payload(Request(messages=(*ASK.messages, Message("system", "Now in French."))))


def test_broken_arguments_go_back_as_they_were():
    call = ToolCall("c1", "now", None, '{"zone": ')
    body = payload(
        Request(
            messages=(
                *ASK.messages,
                Message("assistant", "", tool_calls=(call,)),
                Message("tool", "?", tool_call_id="c1"),
            )
        )
    )
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == {"arguments": '{"zone": '}


def test_calls_that_gemini_did_not_make_say_so_in_place_of_a_signature():
    """Gemini 3 refuses a turn whose first call has no signature, as calls that a task shows as examples."""
    calls = (ToolCall("c1", "now", {}), ToolCall("c2", "now", {}))
    results = (Message("tool", "Noon.", tool_call_id=call.id) for call in calls)
    body = payload(Request(messages=(*ASK.messages, Message("assistant", "", calls), *results)))
    parts = body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]
    google.Content.model_validate_json(json.dumps(body["contents"][1]))


def test_a_role_that_no_vendor_has_is_refused():
    with pytest.raises(RequestRejected, match=r"role 'human'\. Roles: assistant, developer, system"):
        payload(Request(messages=(Message("human", "Hi."),)))


def test_a_model_may_be_named_with_its_folder(keys):
    for name in ("gemini-3-pro", "models/gemini-3-pro"):
        assert load(f"gemini:{name}").target("") == "/models/gemini-3-pro:generateContent"
    assert load("gemini:tunedModels/mine").target("") == "/tunedModels/mine:generateContent"


def test_either_key_will_do(monkeypatch):
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ProbeError, match="GEMINI_API_KEY is not set"):
        load("gemini:m")
    monkeypatch.setenv("GOOGLE_API_KEY", "k" * 20)
    assert load("gemini:m").headers("k") == {"x-goog-api-key": "k"}


async def test_the_time_to_wait_stands_in_the_body(script, keys):
    stage = Stage(script, GEMINI)
    error = GEMINI.error(429, "You exceeded your current quota")
    error["error"]["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    stage.answers(429, error)
    with pytest.raises(Overloaded) as caught:
        await stage.backend.send(ASK)
    assert caught.value.retry_after == 34.5
    await stage.backend.close()


async def test_a_wrong_key_which_is_a_400_stops_the_run(script, keys):
    stage = Stage(script, GEMINI)
    stage.answers(400, GEMINI.error(400, "API key not valid. Please pass a valid API key."))
    with pytest.raises(ProbeError, match="key_env"):
        await stage.backend.send(ASK)
    await stage.backend.close()


async def test_the_list_of_models_says_what_thinks(script, keys):
    stage = Stage(script, GEMINI)
    script.replies["/v1/models/tiny"] = answering(200, {**GEMINI_MODEL, "thinking": True})
    stage.answers(200, GEMINI.reply(Said("343")))
    probed = await stage.backend.probe(Requirements())
    assert probed.info.identity["reasoning_allowance"] == 32_768
    _, body = await stage.ask(Said("Yes."))
    assert body["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}
    await stage.backend.close()


async def test_a_model_that_does_not_think_takes_no_effort(script, keys):
    stage = Stage(script, GEMINI, "effort=low")
    script.replies["/v1/models/tiny"] = answering(200, {**GEMINI_MODEL, "thinking": False})
    with pytest.raises(ProbeError, match="effort: this model does not think"):
        await stage.backend.probe(Requirements())
    await stage.backend.close()


def test_an_effort_that_gemini_lacks_is_refused(keys):
    with pytest.raises(UsageError, match="effort=max: Gemini has none, minimal, low, medium, high, xhigh"):
        load("gemini:m?effort=max")
