"""Checks that a server adapter keeps the contract of ``evalkit.protocols.Backend``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, get_args

import msgspec

from evalkit.errors import EvalkitError
from evalkit.models.providers import load
from evalkit.protocols import Backend, BackendTraits, Load, ProbeResult
from evalkit.testing.support import expect, in_thread
from evalkit.types import FinishReason, Message, Request, Requirements, Response, Tool, ToolCall

_ASK = Request(messages=(Message("user", "Say hello."),), max_tokens=8)
_TOOL = Tool("greet", "Say hello.", {"type": "object", "properties": {"name": {"type": "string"}}})
# Requests that not every server can answer: each must be answered, or refused with an error of evalkit.
_SPECIAL = {
    "a plain prompt": Request(prompt="One, two,", max_tokens=8),
    "a log-likelihood": Request(prompt="One, two,", continuation=" three"),
    "a JSON schema": msgspec.structs.replace(_ASK, json_schema={"type": "object"}),
    "a regex": msgspec.structs.replace(_ASK, regex="(yes|no)"),
    "a tool": msgspec.structs.replace(_ASK, tools=(_TOOL,)),
    "a tool's result": msgspec.structs.replace(
        _ASK,
        tools=(_TOOL,),
        messages=(
            *_ASK.messages,
            Message("assistant", "", (ToolCall("call00001", "greet", {"name": "you"}),)),
            Message("tool", "Hello, you.", tool_call_id="call00001"),
        ),
    ),
}


def check_backend(make: str | Callable[[], Backend]) -> ProbeResult:
    """Check that an adapter keeps the contract: types, stable identity, many requests at once, typed errors.

    ``make`` is a model spec, or a function that returns the adapter; its server must be running. Return the
    result of the probe. Raises ``AssertionError`` with all that is wrong.
    """
    return in_thread(_check(make))


async def _check(make: str | Callable[[], Backend]) -> ProbeResult:
    backend = load(make) if isinstance(make, str) else make()
    assert isinstance(backend, Backend), f"{type(backend).__name__} is no subclass of Backend"
    wrong: list[str] = []
    try:
        probed = await _check_probe(backend, wrong)
        await _check_replies(backend, wrong)
        await _check_special(backend, wrong)
        for endpoint in backend.traits.endpoints or ("",):
            await _check_endpoint(backend, endpoint, wrong)
    finally:
        await backend.close()
    assert not wrong, "\n".join(
        [f"{backend.name}: the contract of Backend is not kept", *dict.fromkeys(wrong)]
    )
    return probed


async def _check_probe(backend: Backend, wrong: list[str]) -> ProbeResult:
    probed, again = await backend.probe(Requirements()), await backend.probe(Requirements())
    assert isinstance(probed, ProbeResult), f"probe returned {type(probed).__name__}, not ProbeResult"
    expect(isinstance(backend.traits, BackendTraits), "traits must be a BackendTraits", wrong)
    expect(bool(probed.name) and probed.name.isprintable(), f"{probed.name!r} is not a name to show", wrong)
    expect(bool(probed.info.identity), "the identity is empty: the cache could not tell models apart", wrong)
    expect(
        msgspec.json.encode(probed.info) == msgspec.json.encode(again.info),
        "a second probe returned other facts: cached replies would not be found",
        wrong,
    )
    return probed


async def _check_replies(backend: Backend, wrong: list[str]) -> None:
    """Check eight replies at once, after a request that is cancelled."""
    cancelled = asyncio.create_task(backend.send(_ASK))
    await asyncio.sleep(0)
    cancelled.cancel()
    with suppress(asyncio.CancelledError):
        await cancelled
    requests = [msgspec.structs.replace(_ASK, repeat=number) for number in range(8)]
    for response in await asyncio.gather(*map(backend.send, requests)):
        wrong += _faults(response)


async def _check_special(backend: Backend, wrong: list[str]) -> None:
    for name, request in _SPECIAL.items():
        try:
            response = await backend.send(request)
        except EvalkitError:
            continue
        except Exception as error:  # noqa: BLE001 - the adapter may raise anything
            wrong.append(f"  {name}: {type(error).__name__} is no error of evalkit.errors: {error}")
            continue
        wrong += [f"  {name}: {fault.strip()}" for fault in _faults(response, request)]


async def _check_endpoint(backend: Backend, endpoint: str, wrong: list[str]) -> None:
    response, rates = await backend.send_to(_ASK, endpoint)
    wrong += _faults(response)
    expect(isinstance(rates, Mapping), f"send_to returned {type(rates).__name__} for the rates", wrong)
    load = await backend.load(endpoint)
    expect(load is None or isinstance(load, Load), f"load returned {load!r}", wrong)


def _faults(response: Any, request: Request = _ASK) -> list[str]:
    if not isinstance(response, Response):
        return [f"  send returned {type(response).__name__}, not Response"]
    wrong: list[str] = []
    expect(isinstance(response.text, str), f"text is {response.text!r}, not a string", wrong)
    valid = response.finish_reason in get_args(FinishReason)
    expect(valid, f"finish_reason is {response.finish_reason!r}", wrong)
    valid = all(isinstance(call, ToolCall) and isinstance(call.name, str) for call in response.tool_calls)
    expect(valid, f"tool_calls are {response.tool_calls!r}, not ToolCall with a name", wrong)
    if request.continuation is not None:
        values = response.logprobs or ()
        valid = bool(values) and all(math.isfinite(value) and value <= 0 for value in values)
        expect(valid, f"logprobs are {response.logprobs}, not finite numbers up to 0", wrong)
    return wrong
