"""Requests as plain values, which are stored, hashed and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from evalkit.reading.surrogates import whole_values
from evalkit.types import Audio, Image, Message, Part, Request, Text, ToolCall, Video

# Generation parameters that are numbers: whether whole, and from where to where.
_RANGES = {
    "max_tokens": (True, 1, 10**9),
    "temperature": (False, 0, 100),
    "top_p": (False, 0, 1),
    "seed": (True, -(2**63), 2**63 - 1),
}


def wrong_value(name: str, value: object) -> str:
    """Return what a generation parameter must be, if it is not; empty for a good value or another name."""
    if name not in _RANGES:
        return ""
    whole_number, low, high = _RANGES[name]
    numbers = int if whole_number else (int, float)
    if isinstance(value, numbers) and not isinstance(value, bool) and low <= value <= high:
        return ""
    return f"must be a {'whole ' if whole_number else ''}number from {low} to {high}"


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
