"""Tools on OpenAI's chat wire, sent and read. The official SDK's types are the independent source."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionContentPartTextParam,
    ChatCompletionMessageParam,
    ChatCompletionToolUnionParam,
)
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import ConfigDict, TypeAdapter

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.models import load
from evalkit.models.openai.tool_calls import LOST
from evalkit.status import classify_answer
from evalkit.types import (
    Answer,
    Image,
    Message,
    Request,
    Response,
    Status,
    Text,
    Tool,
    ToolCall,
)
from tests.models.openai.tool_replies import called, sending

WEATHER = Tool(
    "get_weather",
    "Return the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ASK = Request(messages=(Message("user", "Weather in Oslo?"),), tools=(WEATHER, Tool("now")))
CALL = ToolCall("call_7", "get_weather", {"city": "Ålesund \U0001f326", "days": [1, 2.5, None]})


async def ask(script, *documents, request=ASK, params="") -> Response:
    script.chat(*map(sending, documents))
    backend = load(f"openai:tiny@{script.url}{params}")
    try:
        return await backend.send(request)
    finally:
        await backend.close()


def with_turns(*messages) -> Request:
    return msgspec.structs.replace(ASK, messages=(*ASK.messages, *messages))


# --- What is sent ------------------------------------------------------------------------------------------


class Strict(CompletionCreateParamsNonStreaming):
    __pydantic_config__ = ConfigDict(extra="forbid")


def check_official(body: dict) -> None:
    """Validate a request; messages and tools one by one, because the SDK's types check lists too late."""
    TypeAdapter(Strict).validate_python(body)
    for message in body["messages"]:
        TypeAdapter(ChatCompletionMessageParam).validate_python(message)
        if message["role"] == "tool" and not isinstance(message["content"], str):
            for part in message["content"]:
                TypeAdapter(ChatCompletionContentPartTextParam).validate_python(part)
    for offered in body["tools"]:
        TypeAdapter(ChatCompletionToolUnionParam).validate_python(offered)


@pytest.mark.parametrize("choice", ["auto", "none", "required", "now"])
async def test_requests_with_tools_are_what_the_official_types_allow(script, choice) -> None:
    request = with_turns(
        Message("assistant", "", (CALL, ToolCall("call_8", "now", {}))),
        Message("tool", "rain", tool_call_id="call_7"),
        Message("tool", "noon", tool_call_id="call_8"),
    )
    request = msgspec.structs.replace(request, tool_choice=choice)
    await ask(script, called(content="Rain.", finish="stop"), request=request, params="?sampling=standard")
    _, body = script.seen[-1]
    check_official(body)
    assert [offered["function"]["name"] for offered in body["tools"]] == ["get_weather", "now"]
    expected = {"type": "function", "function": {"name": "now"}} if choice == "now" else choice
    assert body["tool_choice"] == expected
    assistant, weather, _ = body["messages"][1:]
    assert assistant["content"] is None
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == CALL.arguments
    assert weather == {"role": "tool", "content": "rain", "tool_call_id": "call_7"}
    assert body["tools"][1]["function"]["parameters"] == {"type": "object", "properties": {}}


async def test_broken_arguments_go_back_as_an_object_which_every_server_can_read(script) -> None:
    turn = Message("assistant", "", (ToolCall("a", "get_weather", None, '{"city": "Os'),))
    await ask(script, called(), request=with_turns(turn, Message("tool", "error", tool_call_id="a")))
    assert script.seen[-1][1]["messages"][1]["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_pictures_of_results_stand_in_a_message_of_the_user_behind_all_results(script) -> None:
    """The official types allow only text in a message of role tool."""
    calls = (CALL, ToolCall("call_8", "now", {}))
    request = with_turns(
        Message("assistant", "", calls),
        Message("tool", (Text("A scan:"), Image.of(b"scan", "image/png")), tool_call_id="call_7"),
        Message("tool", (Image.of(b"clock", "image/png"),), tool_call_id="call_8"),
        Message("assistant", "I see."),
        Message("user", "Go on."),
    )
    await ask(script, called(content="Rain."), request=request, params="?sampling=standard")
    _, body = script.seen[-1]
    check_official(body)
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user", "assistant", "user"]
    assert [message["content"] for message in body["messages"][2:4]] == ["A scan:", "see the picture"]
    kinds = [part["type"] for part in body["messages"][4]["content"]]
    assert kinds == ["text", "image_url", "image_url"]


async def test_requests_without_tools_say_nothing_of_them(script) -> None:
    await ask(script, called(content="4"), request=Request(messages=(Message("user", "2+2?"),)))
    assert not {"tools", "tool_choice"} & script.seen[-1][1].keys()


async def test_completions_take_no_tools(script) -> None:
    with pytest.raises(RequestRejected, match="api=completions takes no tools"):
        await ask(script, called(), params="?api=completions")


# --- What is read ------------------------------------------------------------------------------------------


async def test_calls_of_a_reply_are_read_as_the_official_types_read_them(script) -> None:
    document = called(
        ("x1", "get_weather", json.dumps(CALL.arguments)), ("x2", "now", "{}"), content="Let me see."
    )
    response = await ask(script, document)
    official = ChatCompletion.model_validate(document).choices[0].message
    assert [(c.id, c.name, c.arguments) for c in response.tool_calls] == [
        (c.id, c.function.name, json.loads(c.function.arguments)) for c in official.tool_calls
    ]
    assert (response.text, response.finish_reason, response.native) == ("Let me see.", "stop", None)


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"city": "Oslo"}', {"city": "Oslo"}),
        ({"city": "Oslo"}, {"city": "Oslo"}),
        ("", {}),
        (None, {}),
        ('{"city": "Os', None),
        ("Oslo", None),
        ("[1, 2]", None),
        ('{"n": 123456789012345678901234567890}', None),  # what no store can hold
        ("{" * 5000, None),
        ('{"city": "\\ud83d"}', {"city": "\ufffd"}),  # half an emoji
    ],
)
async def test_arguments_as_servers_write_them(script, written, arguments) -> None:
    (call,) = (await ask(script, called(("x", "get_weather", written)))).tool_calls
    assert call.arguments == arguments
    assert call.raw == ("" if arguments is not None else written)
    msgspec.json.encode(call)


async def test_missing_and_repeated_ids_are_made_and_stay_the_same(script) -> None:
    turn = Message("assistant", "", (ToolCall("same", "now", {}),))
    request = with_turns(turn, Message("tool", "noon", tool_call_id="same"))
    document = called((None, "now", "{}"), ("same", "now", "{}"), ("", "now", "{}"))
    first = await ask(script, document, request=request)
    again = await ask(script, document, request=request)
    ids = [call.id for call in first.tool_calls]
    assert len({"same", *ids}) == 4
    assert ids == [call.id for call in again.tool_calls]
    assert all(len(id) == 9 and id.isalnum() for id in ids)  # as Mistral's servers want them


async def test_the_old_function_call_and_flat_calls_are_read(script) -> None:
    old = called(finish="function_call", function_call={"name": "now", "arguments": "{}"})
    assert [(c.name, c.arguments) for c in (await ask(script, old)).tool_calls] == [("now", {})]
    flat = called(tool_calls=[{"name": "get_weather", "arguments": {"city": "Oslo"}}])
    assert (await ask(script, flat)).tool_calls[0].arguments == {"city": "Oslo"}


@pytest.mark.parametrize("calls", ["now", [7], 3, ["now"]])
async def test_calls_in_an_unknown_form_are_the_servers_failure(script, calls) -> None:
    with pytest.raises(ServerFailed, match="tool calls in an unknown form"):
        await ask(script, called(tool_calls=calls))


async def test_a_call_that_stands_as_text_is_noted(script) -> None:
    text = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    response = await ask(script, called(content=text, finish="stop"))
    assert response.tool_calls == ()
    assert "a tool call stands as text" in response.notes[0]
    plain = Request(messages=ASK.messages)
    assert (await ask(script, called(content=text), request=plain)).notes == ()


@pytest.mark.parametrize(
    ("text", "usage", "notes"),
    [
        ("", {"completion_tokens": 48, "completion_tokens_details": {"reasoning_tokens": 24}}, (LOST,)),
        ("\n\n", {"completion_tokens": 30}, (LOST,)),
        ("", {"completion_tokens": 26, "completion_tokens_details": {"reasoning_tokens": 24}}, ()),
        ("No.", {"completion_tokens": 48}, ()),
    ],
)
async def test_a_call_that_the_server_dropped_is_noted(script, text, usage, notes) -> None:
    """As SGLang does with a call of an unknown tool: the reply is empty, its tokens are counted."""
    reply = called(content=text, finish="stop")
    response = await ask(script, {**reply, "usage": {"prompt_tokens": 5, **usage}})
    assert (response.text.strip(), response.notes) == (text.strip(), notes)


async def test_a_call_that_no_request_offered_is_no_answer(script):
    script.chat(sending(called(("1", "python", '{"code": "1"}'))))
    backend = load(f"openai:tiny@{script.url}")
    response = await backend.send(Request(messages=(Message("user", "2 + 2?"),)))
    await backend.close()
    assert (response.text, response.tool_calls) == ("", ())
    assert response.notes == ("the model called a tool, although the request offered none",)
    assert classify_answer(Answer(response)) is Status.EMPTY


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (None, {"reasoning_content": "Oslo is a city."}),
        ("", {"reasoning": "Oslo is a city."}),
        (None, {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x9"}]}),
        ("<think>Oslo is a city.</think>", {}),
    ],
)
async def test_reasoning_between_calls_goes_back_as_it_came(script, content, more) -> None:
    response = await ask(script, called((None, "now", "{}"), content=content, **more))
    turn = Message("assistant", response.text, response.tool_calls, native=response.native)
    result = Message("tool", "noon", tool_call_id=response.tool_calls[0].id)
    await ask(script, called(content="Noon."), request=with_turns(turn, result))
    sent, told = script.seen[-1][1]["messages"][1:]
    assert sent["content"] == (content or None)
    assert {name: sent[name] for name in more} == more
    assert sent["tool_calls"][0]["id"] == told["tool_call_id"] == response.tool_calls[0].id


async def test_a_native_turn_of_another_vendor_is_not_sent(script) -> None:
    turn = Message("assistant", "Let me see.", (CALL,), native={"anthropic": [{"type": "thinking"}]})
    await ask(script, called(), request=with_turns(turn, Message("tool", "rain", tool_call_id=CALL.id)))
    sent = script.seen[-1][1]["messages"][1]
    assert (sent["content"], sent["tool_calls"][0]["id"]) == ("Let me see.", CALL.id)
    assert "thinking" not in json.dumps(sent)


async def test_what_a_vendor_signs_inside_a_call_goes_back(script) -> None:
    entry = {"id": "f1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    signed = {**entry, "extra_content": {"google": {"thought_signature": "sig=="}}}
    response = await ask(script, called(tool_calls=[signed]))
    turn = Message("assistant", "", response.tool_calls, native=response.native)
    await ask(script, called(), request=with_turns(turn, Message("tool", "noon", tool_call_id="f1")))
    assert script.seen[-1][1]["messages"][1]["tool_calls"] == [signed]


# --- Streams -----------------------------------------------------------------------------------------------


def chunks(*deltas, finish="tool_calls"):
    events = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    events.append({"index": 0, "delta": {}, "finish_reason": finish})
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    return [{**head, "choices": [event]} for event in events]


def split(rng: random.Random, calls) -> list[dict]:
    """Return deltas of calls as OpenAI streams them: a head, then the arguments in pieces of any size."""
    deltas = [{"role": "assistant", "content": None}]
    for index, (id, name, arguments) in enumerate(calls):
        head = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        while arguments:
            size = rng.randint(1, 7)
            piece, arguments = arguments[:size], arguments[size:]
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    return deltas


async def test_streamed_calls_are_put_together_as_the_official_client_does(script) -> None:
    rng = random.Random(3)
    for count in (1, 2, 5):
        wanted = [(f"id{n}", f"tool_{n}", json.dumps({"é": n, "list": [n] * n})) for n in range(count)]
        events = chunks(*split(rng, wanted))
        response = await ask(script, events, params="?stream=true")
        state = ChatCompletionStreamState()
        for event in events:
            state.handle_chunk(ChatCompletionChunk.model_validate(event))
        official = state.get_final_completion().choices[0].message.tool_calls
        assert [(c.id, c.name, c.arguments) for c in response.tool_calls] == [
            (c.id, c.function.name, json.loads(c.function.arguments)) for c in official
        ]
        assert len(response.tool_calls) == count
        assert response.first_token_s is not None


def piece(name=None, arguments=None, **more):
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {"tool_calls": [{**more, "function": function}]}


STREAMS = {
    "no index, an id in the first piece": [
        piece("now", "", id="a"), piece(None, '{"x":'), piece(None, "1}"), piece("now", '{"x":2}', id="b"),
    ],
    "index 0 for all calls, each whole": [
        piece("now", '{"x":1}', index=0, id="a"), piece("now", '{"x":2}', index=0, id="b"),
    ],
    "the id and the name again in each piece": [
        piece("now", '{"x"', index=0, id="a"), piece("now", ":1}", index=0, id="a"),
        piece("now", '{"x":2}', index=1, id="b"),
    ],
    "pieces of two calls in turns": [
        piece("now", '{"x"', index=0, id="a"), piece("now", '{"x"', index=1, id="b"),
        piece(None, ":1}", index=0), piece(None, ":2}", index=1),
    ],
    "arguments as objects, no ids": [piece("now", {"x": 1}), piece("now", {"x": 2})],
    "indexes from 1, null ids": [
        piece("now", '{"x":1}', index=1, id="a"), piece("", "", index=1, id=None),
        piece("now", '{"x":2}', index=2, id="b"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
async def test_streamed_calls_in_the_forms_of_other_servers(script, name) -> None:
    response = await ask(script, chunks(*STREAMS[name]), params="?stream=true")
    assert [(c.name, c.arguments) for c in response.tool_calls] == [("now", {"x": 1}), ("now", {"x": 2})]


async def test_a_streamed_old_function_call_is_read(script) -> None:
    first, second = {"name": "now", "arguments": '{"x"'}, {"arguments": ":1}"}
    events = chunks({"function_call": first}, {"function_call": second}, finish="function_call")
    response = await ask(script, events, params="?stream=true")
    assert [(c.name, c.arguments) for c in response.tool_calls] == [("now", {"x": 1})]
