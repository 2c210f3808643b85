"""Requests: what they may hold, and the plain values that are stored, hashed and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from evalkit.errors import UsageError, did_you_mean
from evalkit.reading.surrogates import whole, whole_values
from evalkit.types import Audio, Content, Image, Message, Part, Request, Text, Tool, ToolCall, Video

# Generation parameters that are numbers: whether whole, and from where to where.
_RANGES = {
    "max_tokens": (True, 1, 10**9),
    "temperature": (False, 0, 100),
    "top_p": (False, 0, 1),
    "seed": (True, -(2**63), 2**63 - 1),
}
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the names that all vendors take
CHOICES = ("auto", "none", "required")  # of a tool; else one by its name


def wrong_value(name: str, value: object) -> str:
    """Return what a generation parameter must be, if it is not; empty for a good value or another name."""
    if name not in _RANGES:
        return ""
    whole_number, low, high = _RANGES[name]
    numbers = int if whole_number else (int, float)
    if isinstance(value, numbers) and not isinstance(value, bool) and low <= value <= high:
        return ""
    return f"must be a {'whole ' if whole_number else ''}number from {low} to {high}"


def tool_fields(tools: Sequence[Tool], choice: str) -> dict[str, Any]:
    """Return the fields of a request with tools, checked. Raises ``UsageError``."""
    names = [tool.name for tool in tools]
    for name in names:
        if not _TOOL_NAME.fullmatch(name) or name in CHOICES:
            raise UsageError(
                f"{name!r} cannot be the name of a tool: take up to 64 letters, digits, _ and -, and none of "
                f"{', '.join(CHOICES)}"
            )
        if names.count(name) > 1:
            raise UsageError(f"two tools have the name {name!r}: give one of them another, @tool(name=...)")
    if choice not in (*CHOICES, *names):
        known = ", ".join((*CHOICES, *names))
        raise UsageError(f"tool_choice={choice!r} names no tool.{did_you_mean(choice, names)} Known: {known}")
    if not tools:
        raise UsageError(f"tool_choice={choice!r} needs tools=: there is nothing to choose from")
    # A tool may carry its function; the request holds what is sent.
    plain = tuple(Tool(tool.name, tool.description, tool.parameters) for tool in tools)
    return {"tools": plain, "tool_choice": choice}


def without_halves(request: Request) -> Request:
    """Return the request with U+FFFD for each half of an emoji in its texts, which UTF-8 cannot hold."""
    texts = [request.prompt or "", request.continuation or ""]
    for message in request.messages:
        if isinstance(message.content, str):
            texts.append(message.content)
        else:
            texts += [part.text for part in message.content if isinstance(part, Text)]
    if all(map(str.isascii, texts)) or all(whole(text) is text for text in texts):
        return request
    return msgspec.structs.replace(
        request,
        prompt=request.prompt and whole(request.prompt),
        continuation=request.continuation and whole(request.continuation),
        messages=tuple(
            msgspec.structs.replace(m, content=_whole_content(m.content)) for m in request.messages
        ),
    )


def _whole_content(content: Content) -> Content:
    if isinstance(content, str):
        return whole(content)
    return tuple(Text(whole(part.text)) if isinstance(part, Text) else part for part in content)


def describe(request: Request) -> dict[str, Any]:
    """Return a request as plain values: images by hash, without ``sample`` and empty fields."""
    plain: dict[str, Any] = {}
    if request.messages:
        plain["messages"] = [describe_message(message) for message in request.messages]
    plain["max_tokens"], plain["temperature"] = request.max_tokens, request.temperature
    plain["top_p"], plain["repeat"] = request.top_p, request.repeat
    if request.stop:
        plain["stop"] = list(request.stop)
    if request.tools:
        plain["tools"] = [msgspec.to_builtins(tool) for tool in request.tools]
        plain["tool_choice"] = request.tool_choice
    if request.json_schema:
        plain["json_schema"] = request.json_schema
    if request.extra:
        plain["extra"] = request.extra
    for name in ("prompt", "continuation", "seed", "regex"):
        if (value := getattr(request, name)) is not None:
            plain[name] = value
    return plain


def describe_message(message: Message) -> dict[str, Any]:
    """Return a message as plain values: images by hash, without empty fields."""
    plain = {"role": message.role, "content": _plain(message.content)}
    if not (message.tool_calls or message.tool_call_id or message.native is not None):
        return plain
    if message.tool_calls:
        plain["tool_calls"] = [msgspec.to_builtins(call) for call in message.tool_calls]
    return plain | _not_empty(tool_call_id=message.tool_call_id, native=message.native)


def _plain(content: str | tuple[Part, ...]) -> Any:
    return content if isinstance(content, str) else [_plain_part(part) for part in content]


def _plain_part(part: Part) -> dict[str, Any]:
    """Return a part as plain values: media by the hash of their bytes and by how the bytes were made."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    source: dict[str, Any] = {"sha256": part.sha256, "media_type": part.media_type}
    match part:
        case Image():
            size = list(part.size) if part.size else None
            return {"type": "image", **source, **_not_empty(made=part.made, size=size)}
        case Audio():
            return {"type": "audio", **source}
        case Video():
            return {"type": "video", **source, **_not_empty(frames=part.frames, fps=part.fps)}


def _not_empty(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def with_ids(calls: Sequence[ToolCall], messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """Return calls with an id each that no other call of the conversation has.

    An id that is missing or taken is made from the number of the call: equal conversations have equal ids.
    It has nine letters and digits, because Mistral's servers take no other.
    """
    taken = {call.id for message in messages for call in message.tool_calls}
    named = []
    for number, call in enumerate(calls, len(taken) + 1):
        if not call.id or call.id in taken:
            call = msgspec.structs.replace(call, id=f"call{number:05d}")
        taken.add(call.id)
        named.append(call)
    return tuple(named)


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys: the same bytes for the same content."""
    return encoded(value, order="sorted")


def encoded(value: Any, order: Literal["sorted"] | None = None) -> bytes:
    """Return JSON, with U+FFFD for half an emoji, which UTF-8 cannot hold."""
    try:
        return msgspec.json.encode(value, order=order)
    except UnicodeEncodeError:
        return msgspec.json.encode(whole_values(msgspec.to_builtins(value)), order=order)


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the differences between two identities of a model, in words."""
    names = sorted(k for k in {*then, *now} if then.get(k) != now.get(k))
    return ", ".join(f"{k}: {then.get(k)!r} then, {now.get(k)!r} now" for k in names)
