"""Tools and reasoning on the vendors' own interfaces: what goes out, comes back, and goes back again."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from evalkit.errors import ProbeError, RequestRejected, UsageError
from evalkit.model import Model
from evalkit.models import load
from evalkit.models.openai.reasoning import ASKED_AGAIN, SHORTENED
from evalkit.types import Image, Message, Request, Requirements, Text, Tool, ToolCall
from tests.models.stage import ASK, Stage, answering, place, strings
from tests.servers.dialects import DIALECTS, Said, Tokens

TOOLS = (
    Tool("search", "Find abstracts.", {"type": "object", "properties": {"query": {"type": "string"}}}),
    Tool("now"),
)
ALL = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
VENDORS = pytest.mark.parametrize(
    "dialect", [d for d in DIALECTS if d.name not in ("openai", "sglang")], ids=lambda d: d.name
)


def asking(*more: Message, **fields) -> Request:
    return Request(messages=(*ASK.messages, *more), tools=TOOLS, **fields)


@ALL
async def test_tools_are_offered_and_calls_are_read(stage):
    calls = (("c1", "search", {"query": "aspirin", "most": 3}), ("c2", "now", {}))
    response, body = await stage.ask(Said("I look.", calls=calls), asking())
    for text in ("Find abstracts.", "query"):
        assert text in str(body)
    assert [text for text in strings(body) if text in ("search", "now")] == ["search", "now"]
    assert response.tool_calls == tuple(ToolCall(*call) for call in calls)
    assert (response.text, response.finish_reason) == ("I look.", "stop")


@ALL
async def test_tools_of_the_vendor_stand_beside_those_of_the_task(stage):
    _, body = await stage.ask(Said("Yes."), asking(extra={"tools": [{"type": "web_search"}]}))
    assert [text for text in strings(body) if text in ("search", "now", "web_search")] == [
        "search",
        "now",
        "web_search",
    ]


@ALL
async def test_calls_without_a_text_are_no_failure(stage):
    response, _ = await stage.ask(Said(calls=(("c1", "now", {}),)), asking())
    assert (response.text, response.tool_calls) == ("", (ToolCall("c1", "now", {}),))


@ALL
async def test_results_follow_their_calls(stage):
    spoken = Message(
        "assistant", "", tool_calls=(ToolCall("c1", "search", {"query": "x"}), ToolCall("c2", "now", {}))
    )
    found = Message("tool", "Two abstracts.", tool_call_id="c1")
    picture = Message("tool", (Text("Noon."), Image.of(b"clock", "image/png")), tool_call_id="c2")
    _, body = await stage.ask(Said("Done.", tokens=Tokens(prompt=0)), asking(spoken, found, picture))
    places = [place(body, text) for text in ("What is it?", "Two abstracts.", "Noon.", "Y2xvY2s=")]
    assert places == sorted(places)
    assert strings(body).count("c1") == strings(body).count("c2") == 2


@ALL
@pytest.mark.parametrize("choice", ["auto", "none", "required", "search"])
async def test_the_choice_of_a_tool_goes_along(stage, choice):
    _, body = await stage.ask(Said("Yes."), asking(tool_choice=choice))
    chosen = body.get("tool_choice") or body.get("toolConfig")
    words = {"required": {"required", "any", "ANY"}, "search": {"search"}}
    expected = words.get(choice, {choice, choice.upper()})
    assert expected & set(strings({"choice": chosen}))


@ALL
async def test_a_choice_that_is_no_tool_is_refused(stage):
    with pytest.raises(RequestRejected, match="'find' names no tool"):
        await stage.ask(Said("Yes."), asking(tool_choice="find"))


@VENDORS
async def test_what_the_model_thought_goes_back_unchanged(stage):
    said = Said("I look.", thought="Maybe aspirin.", calls=(("c1", "now", {}),))
    response, _ = await stage.ask(said, asking())
    spoken = Message("assistant", response.text, response.tool_calls, native=response.native)
    _, body = await stage.ask(Said("Noon."), asking(spoken, Message("tool", "12:00", tool_call_id="c1")))
    for text in ("Maybe aspirin.", "I look.", "12:00"):
        place(body, text)
    assert any(sealed in strings(body) for sealed in ("sealed", "c2VhbGVk"))


@ALL
async def test_calls_of_one_id_go_back_with_ids_of_their_own(stage):
    """Servers that number the calls of each reply anew, or give two calls one id."""
    said = Said("I look.", thought="Maybe aspirin.", calls=(("c1", "now", {}), ("c1", "search", {})))
    messages = list(ASK.messages)
    for _ in range(2):
        await stage.ask(said, asking())
        response = await Model(stage.backend).generate(messages, tools=TOOLS)
        messages.append(Message("assistant", response.text, response.tool_calls, native=response.native))
        messages += [Message("tool", f"is {c.id}", tool_call_id=c.id) for c in response.tool_calls]
    _, body = await stage.ask(Said("Noon."), Request(messages=tuple(messages), tools=TOOLS))
    found = [call.id for message in messages for call in message.tool_calls]
    assert len(set(found)) == 4
    if stage.dialect.name == "gemini":  # which pairs results with calls by their order
        assert strings(body).count("c1") == 8
    else:
        assert all(strings(body).count(id) == 2 for id in found)


@ALL
async def test_a_turn_of_another_vendor_goes_along_as_text_and_calls(stage):
    calls = (ToolCall("c1", "now", {}),)
    spoken = Message("assistant", "I look.", calls, native={"elsewhere": [{"signature": "secret"}]})
    _, body = await stage.ask(Said("Noon."), asking(spoken, Message("tool", "12:00", tool_call_id="c1")))
    place(body, "I look.")
    assert "secret" not in str(body)


@VENDORS
@pytest.mark.parametrize("param", ["stream=true", "logprobs=echo", "sampling=full"])
def test_an_option_that_vendors_lack_is_refused(keys, dialect, param):
    spec = dialect.spec.format(url="http://127.0.0.1:9")
    joined = f"{spec}{'&' if '?' in spec else '?'}"
    name = param.partition("=")[0]
    with pytest.raises(UsageError, match=f"model parameter {name}: .*interface.* Leave it out"):
        load(joined + param)
    assert load(joined + "stream=false")


# --- Reasoning ---


@VENDORS
async def test_an_effort_is_told_and_gives_room_beside_the_answer(script, keys, dialect):
    stage = Stage(script, dialect, "effort=high&reasoning_tokens=5000")
    _, body = await stage.ask(Said("Yes."))
    assert {"high", "HIGH"} & set(strings(body))
    assert stage.limit(body) == ASK.max_tokens + 5000
    await stage.backend.close()


@VENDORS
async def test_an_effort_is_part_of_name_and_identity(script, keys, dialect):
    stage = Stage(script, dialect, "effort=low")
    stage.answers(200, dialect.reply(Said("343")))
    probed = await stage.backend.probe(Requirements())
    assert probed.name.endswith("?effort=low")
    assert probed.info.identity["effort"] == "low"
    assert "up to 32,768 tokens" in probed.info.server["reasoning"]["said"]
    await stage.backend.close()


@ALL
async def test_a_model_that_thinks_unasked_gets_room(stage):
    stage.answers(200, stage.dialect.reply(Said("343", tokens=Tokens(answer=3, thought=60))))
    probed = await stage.backend.probe(Requirements())
    assert probed.info.identity["reasoning_allowance"] == 32_768
    assert "reasons" in probed.info.server["reasoning"]["said"]
    await stage.backend.facts(stage.backend.endpoints.urls[0], {"id": "tiny"})  # as after a broken connection
    _, body = await stage.ask(Said("Yes."))
    assert stage.limit(body) == ASK.max_tokens + 32_768


@ALL
async def test_a_model_that_does_not_think_gets_none(stage):
    stage.answers(200, stage.dialect.reply(Said("343")))
    probed = await stage.backend.probe(Requirements())
    assert "reasoning" not in probed.info.server
    _, body = await stage.ask(Said("Yes."))
    assert stage.limit(body) == ASK.max_tokens


@ALL
@pytest.mark.parametrize(("params", "sent"), [("", 1), ("reasoning_tokens=5000", 0)])
async def test_stop_strings_are_not_looked_for_in_what_the_model_thinks(script, keys, dialect, params, sent):
    stage = Stage(script, dialect, params)
    _, body = await stage.ask(Said("Yes."), Request(messages=ASK.messages, stop=("END",)))
    if dialect.name != "responses":  # which has no stop strings: Model cuts at them
        assert strings(body).count("END") == sent
    stage.answers(200, dialect.reply(Said("Yes. END of it.", finish="length")))
    response = await Model(stage.backend).generate("Go.", stop="END")
    assert (response.text, response.finish_reason) == ("Yes. ", "stop")
    await stage.backend.close()


@VENDORS
async def test_reasoning_switched_off(script, keys, dialect):
    stage = Stage(script, dialect, "effort=none")
    _, body = await stage.ask(Said("Yes."))
    assert stage.limit(body) == ASK.max_tokens
    assert any(off in str(body) for off in ("'disabled'}", "'effort': 'none'", "'thinkingBudget': 0"))
    await stage.backend.close()


@ALL
async def test_a_model_that_thinks_although_it_was_switched_off_is_refused(script, keys, dialect):
    stage = Stage(script, dialect, "effort=none")
    stage.answers(200, dialect.reply(Said("343", tokens=Tokens(answer=3, thought=60))))
    with pytest.raises(ProbeError, match="reasons although effort=none"):
        await stage.backend.probe(Requirements())
    await stage.backend.close()


@ALL
async def test_an_answer_that_used_the_room_for_thoughts_is_noted(script, keys, dialect):
    stage = Stage(script, dialect, "reasoning_tokens=5000")
    response, _ = await stage.ask(Said("Long.", tokens=Tokens(answer=900, thought=100)))
    assert "longer than the task allows" in response.notes[0]
    response, _ = await stage.ask(Said("Short.", tokens=Tokens(answer=90, thought=3000)))
    assert response.notes == ()
    await stage.backend.close()


@ALL
async def test_a_reply_that_was_cut_by_its_thoughts_is_asked_again_with_room(stage):
    """A model that did not think about the probe's question may think about those of the task."""
    stage.answers(200, stage.dialect.reply(Said("343")))
    await stage.backend.probe(Requirements())
    cut = stage.dialect.reply(Said("", "Let me", finish="length", tokens=Tokens(answer=0, thought=512)))
    whole = stage.dialect.reply(Said("Yes.", "Let me see."))

    async def by_length(request, body):
        return web.json_response(cut if stage.limit(body) == ASK.max_tokens else whole)

    stage.script.replies[stage.dialect.path] = by_length
    first, second = await stage.backend.send(ASK), await stage.backend.send(ASK)
    assert (first.text, first.notes) == ("Yes.", (ASKED_AGAIN,))
    assert (second.text, second.notes) == ("Yes.", ())


@VENDORS
async def test_a_model_whose_thinking_is_switched_off_gets_no_room(script, keys, dialect):
    stage = Stage(script, dialect, "effort=none")
    response, _ = await stage.ask(Said("", finish="length", tokens=Tokens(answer=0, thought=512)))
    assert (response.finish_reason, response.notes, len(script.seen)) == ("length", (), 1)
    await stage.backend.close()


@ALL
async def test_room_for_thoughts_that_is_too_long_for_a_server_is_halved(stage):
    """A small server that copies a vendor's interface: its context is shorter than the usual room."""
    asked = []

    async def small(request, body):
        asked.append(stage.limit(body))
        if asked[-1] > 8000:
            said = "max_tokens is too large: this model's maximum context length is 8192 tokens"
            return web.json_response({"error": {"message": said}}, status=400)
        return web.json_response(stage.dialect.reply(Said("343", tokens=Tokens(answer=3, thought=60))))

    stage.script.replies[stage.dialect.path] = small
    await stage.backend.probe(Requirements())
    response = await stage.backend.send(ASK)
    assert (response.text, response.finish_reason) == ("343", "stop")
    assert ASK.max_tokens < asked[-1] <= 8000


@VENDORS
async def test_a_cut_reply_without_any_room_left_is_not_asked_again_for_ever(stage):
    """The prompt fills the context: all room is refused, and what is left is cut inside the thoughts."""
    stage.answers(200, stage.dialect.reply(Said("343", tokens=Tokens(answer=3, thought=60))))
    await stage.backend.probe(Requirements())
    before = len(stage.script.seen)

    async def full(request, body):
        if stage.limit(body) > ASK.max_tokens:
            return web.json_response({"error": {"message": "the context is exceeded"}}, status=400)
        cut = Said("", "Let me", finish="length", tokens=Tokens(answer=0, thought=512))
        return web.json_response(stage.dialect.reply(cut))

    stage.script.replies[stage.dialect.path] = full
    response = await stage.backend.send(ASK)
    assert (response.finish_reason, response.notes) == ("length", (SHORTENED,))
    assert len(stage.script.seen) - before < 12


@pytest.mark.parametrize(
    "dialect", [d for d in DIALECTS if d.name in ("anthropic", "gemini")], ids=lambda d: d.name
)
async def test_room_fits_the_context_that_a_vendors_page_tells(stage):
    for path, page in stage.dialect.pages.items():
        short = json.loads(json.dumps(page).replace("200000", "8192"))
        stage.script.replies[path] = answering(200, short)
    stage.answers(200, stage.dialect.reply(Said("343", tokens=Tokens(answer=3, thought=60))))
    probed = await stage.backend.probe(Requirements())
    assert (probed.info.max_context, probed.info.identity["reasoning_allowance"]) == (8192, 4096)
