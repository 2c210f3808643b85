"""The probe of tools: does the server call one when it is told to, and does it take the result?"""

from __future__ import annotations

from msgspec.structs import replace

from evalkit.errors import ModelError, Overloaded, ProbeError
from evalkit.protocols import Backend
from evalkit.reading.written_calls import written_call
from evalkit.requests import with_ids
from evalkit.types import Message, Request, Response, Tool
from evalkit.util.masking import excerpt

FIX = (
    "Take a model that calls tools. A server of your own needs the parser of the model's calls: vllm serve "
    "MODEL --enable-auto-tool-choice --tool-call-parser NAME, or python -m sglang.launch_server "
    "--tool-call-parser NAME, or llama-server --jinja"
)
_TOOL = Tool(
    "record_number",
    "Record a number.",
    {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
)
_ASK = Request(
    messages=(Message("user", "Call the tool record_number with the number 7."),),
    tools=(_TOOL,),
    max_tokens=512,
)


async def check_tools(backend: Backend) -> None:
    """Check that a server calls a tool, and goes on from its result. Raises ``ProbeError`` with the fix."""
    response = await _send(backend, _ASK, "refuses tools")
    if not response.tool_calls:
        _check_text(backend, response)
        response = await _send(
            backend, replace(_ASK, tool_choice="required"), "calls no tool, and refuses to"
        )
        _check_text(backend, response)
    if not response.tool_calls:
        if response.finish_reason in ("length", "other"):  # cut, or a broken call: nothing can be told
            return
        raise ProbeError(
            f"{backend.name}: the server ignores tools: told that a call is required, it answered "
            f"{excerpt(response.text, 80)!r}. {FIX}"
        )
    calls = with_ids(response.tool_calls, _ASK.messages)
    results = (Message("tool", "recorded", tool_call_id=call.id) for call in calls)
    turn = Message("assistant", response.text, calls, native=response.native)
    going_on = replace(_ASK, messages=(*_ASK.messages, turn, *results))
    await _send(
        backend, going_on, "calls tools, but takes no result: its chat template must know the role tool"
    )


async def _send(backend: Backend, request: Request, failing: str) -> Response:
    try:
        return await backend.send(request)
    except Overloaded:
        raise
    except ModelError as problem:
        if problem.status is None:
            raise
        raise ProbeError(f"{backend.name} {failing}: {problem}. {FIX}") from None


def _check_text(backend: Backend, response: Response) -> None:
    if not response.tool_calls and (mark := written_call(response.text)):
        raise ProbeError(
            f"{backend.name}: the model calls tools, but the server does not read the calls: they stand as "
            f"text in the reply ({mark}). {FIX}"
        )
