"""The probe of tools: does the server give back the model's calls, and take their results?"""

from __future__ import annotations

import pytest
from aiohttp import web

from evalkit.errors import ProbeError
from evalkit.models import load
from evalkit.models.tool_probe import check_tools
from evalkit.types import Request, Requirements, Response, ToolCall
from tests.models.openai.tool_replies import called, sending


def recorded(id="r1"):
    return called((id, "record_number", '{"number": 7}'))


async def probed(script, *documents) -> None:
    """Probe a server that sends these in turn to requests with tools, the last one from then on."""
    waiting = list(documents)

    async def answer(request, body):
        if "tools" not in body:
            return web.json_response(called(content="Hello.", finish="stop"))
        return await sending(waiting.pop(0) if len(waiting) > 1 else waiting[0])(request, body)

    script.replies["/v1/chat/completions"] = answer
    backend = load(f"openai:tiny@{script.url}")
    try:
        await backend.probe(Requirements(tools=True))
    finally:
        await backend.close()


async def test_a_server_that_calls_and_takes_the_result_passes(script) -> None:
    await probed(script, recorded(), called(content="Done.", finish="stop"))
    last = [body for path, body in script.seen if "tools" in body][-1]["messages"]
    assert [message["role"] for message in last] == ["user", "assistant", "tool"]


async def test_a_model_that_does_not_call_by_itself_passes_if_it_can_be_made_to(script) -> None:
    await probed(script, called(content="Seven.", finish="stop"), recorded(), called(content="Done."))
    assert [b["tool_choice"] for _, b in script.seen if "tools" in b] == ["auto", "required", "auto"]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([ValueError('"auto" tool choice requires --enable-auto-tool-choice')], "refuses tools: .*--jinja"),
        ([called(content='<tool_call>{"name": "record_number"')], "stand as text in the reply .*parser"),
        (
            [called(content="[TOOL_CALLS]record_number{}")],
            r"text in the reply \(\[TOOL_CALLS\]\).*vllm serve",
        ),
        ([called(content="Seven.")], "ignores tools: .*'Seven.'.*--tool-call-parser"),
        ([called(content="7"), ValueError("tool_choice")], "calls no tool, and refuses to: .*--jinja"),
        ([recorded(), ValueError("role tool")], "takes no result: its chat template must know the role tool"),
    ],
)
async def test_a_server_that_cannot_call_tools_is_refused_with_the_fix(script, documents, message) -> None:
    with pytest.raises(ProbeError, match=message):
        await probed(script, *documents)


async def test_a_probe_that_is_cut_says_nothing(script) -> None:
    await probed(script, called(content="", reasoning_content="Hm", finish="length"))


async def test_the_probe_works_with_any_adapter(script) -> None:
    from evalkit.models.fake import FakeBackend

    def model(request: Request) -> Response:
        asked = request.messages[-1].role == "user"
        calls = (ToolCall.of("record_number", number=7),) if asked else ()
        return Response(text="" if asked else "Recorded.", tool_calls=calls)

    await check_tools(FakeBackend(model))
    with pytest.raises(ProbeError, match="ignores tools"):
        await check_tools(FakeBackend(lambda request: "I cannot."))
