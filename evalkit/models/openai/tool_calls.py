"""Tools in OpenAI's chat format: their definitions, the calls in messages, in replies and in streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.models.openai.usage import SPECIAL_TOKENS
from evalkit.reading.reasoning import split_reasoning
from evalkit.reading.surrogates import whole, whole_values
from evalkit.reading.written_calls import written_call
from evalkit.requests import CHOICES, encoded, with_ids
from evalkit.types import Message, Part, Request, Text, ToolCall, Usage
from evalkit.util.masking import excerpt

_VENDOR = "openai"  # whose native turns are read here: one of another vendor means nothing to this API
# SGLang drops calls of tools that were not offered, and calls whose JSON is broken.
LOST = "the reply is empty, although the model wrote something: the server may have dropped a broken call"
_SAME_WORDS = {word: word for word in CHOICES}
_NO_PARAMETERS = {"type": "object", "properties": {}}
# What a turn that calls tools must bring back: vendors that reason between calls refuse it without, or have
# the model begin anew (DeepSeek, Kimi, gpt-oss, MiniMax; reasoning_details: OpenRouter).
_REASONING = ("reasoning_content", "reasoning", "reasoning_details")


def tools_payload(request: Request) -> dict[str, Any]:
    """Return the tools of a request, and which of them the model may call."""
    functions = [
        {
            "name": tool.name,
            **({"description": tool.description} if tool.description else {}),
            "parameters": tool.parameters or _NO_PARAMETERS,
        }
        for tool in request.tools
    ]
    choice = tool_choice(request, lambda name: {"type": "function", "function": {"name": name}})
    return {"tools": [{"type": "function", "function": f} for f in functions], "tool_choice": choice}


def tool_choice(request: Request, named: Callable[[str], Any], words: Mapping[str, Any] = _SAME_WORDS) -> Any:
    """Return a request's tool choice in a vendor's words; ``named`` gives that of one tool.

    Raises ``RequestRejected`` for a name that is none of the request's tools.
    """
    choice = request.tool_choice
    if choice in words:
        return words[choice]
    if choice not in {tool.name for tool in request.tools}:
        known = ", ".join((*CHOICES, *(tool.name for tool in request.tools)))
        raise RequestRejected(f"tool_choice={choice!r} names no tool. Known: {known}")
    return named(choice)


def own_turn(message: Message, vendor: str) -> Any:
    """Return ``message.native`` if it comes from this ``vendor``'s interface, else None.

    A turn of another vendor is sent as text and tool calls: only the vendor that signed it can read the rest.
    """
    native = message.native
    return native.get(vendor) if isinstance(native, dict) else None


def turn_payload(message: Message, content: Any) -> dict[str, Any]:
    """Return a message that calls tools, or that holds the result of a call."""
    if (own := own_turn(message, _VENDOR)) is not None:
        return dict(own)
    payload: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_call_id:
        payload["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        payload["content"] = content or None
        payload["tool_calls"] = [_call_payload(call) for call in message.tool_calls]
    return payload


def pictures_apart(messages: Sequence[Message]) -> list[Message]:
    """Return messages with the pictures of tools' results in a message of the user behind the results.

    The API takes them nowhere else.
    """
    apart: list[Message] = []
    pictures: list[Part] = []
    for message in (*messages, None):
        if pictures and (message is None or message.role != "tool"):
            apart.append(Message("user", (Text("Pictures from the tools:"), *pictures)))
            pictures = []
        if message is None:
            break
        if message.role == "tool" and not isinstance(message.content, str):
            pictures += [part for part in message.content if not isinstance(part, Text)]
            message = replace(message, content=message.text or "see the picture")
        apart.append(message)
    return apart


def _call_payload(call: ToolCall, **also: Any) -> dict[str, Any]:
    """Return a call in a message. Servers refuse broken JSON, so it becomes an empty object there."""
    function = {"name": call.name, "arguments": encoded(call.arguments or {}).decode()}
    return {**also, "id": call.id, "type": "function", "function": function}


def read_calls(message: Mapping[str, Any], earlier: Sequence[Message]) -> tuple[ToolCall, ...]:
    """Return the calls in a reply to the messages ``earlier``. Raises ``ServerFailed`` for another form."""
    return with_ids([_call(entry) for entry in _entries(message)], earlier)


def note_without_calls(text: str, thoughts: str, usage: Usage) -> tuple[str, ...]:
    """Return a note on a reply without calls, if the model made one that its server did not read."""
    if mark := written_call(text):
        return (f"a tool call stands as text in the reply ({mark}): the server did not read it",)
    counted = usage.reasoning_tokens or not thoughts  # else nobody knows what was no thought
    written = usage.completion_tokens - usage.reasoning_tokens
    return (LOST,) if counted and not text.strip() and written > SPECIAL_TOKENS else ()


def native_turn(message: Mapping[str, Any], calls: Sequence[ToolCall]) -> dict[str, Any] | None:
    """Return ``Response.native``: a reply with calls as the next request repeats it.

    None if the calls and the text are all of it.
    """
    entries = _entries(message)
    thoughts = {name: message[name] for name in _REASONING if message.get(name)}
    content = message.get("content")
    also = [{k: v for k, v in entry.items() if k not in _KNOWN and v is not None} for entry in entries]
    if not thoughts and not any(also) and not (isinstance(content, str) and split_reasoning(content)[0]):
        return None
    payloads = [_call_payload(call, **more) for call, more in zip(calls, also, strict=True)]
    turn = {"role": "assistant", "content": content or None, **thoughts, "tool_calls": payloads}
    return {_VENDOR: whole_values(turn)}


_KNOWN = ("id", "type", "function", "index", "name", "arguments", "parameters")


def _entries(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = message.get("tool_calls") or message.get("function_call") or []
    if isinstance(entries, Mapping):
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ServerFailed(f"the server's reply has tool calls in an unknown form: {excerpt(entries)}")
    return entries


def _call(entry: Mapping[str, Any]) -> ToolCall:
    function = entry.get("function")
    if not isinstance(function, Mapping):  # {"name", "arguments"}, as the old function_call
        function = entry
    arguments = function.get("arguments", function.get("parameters"))
    return read_call(entry.get("id"), function.get("name"), arguments)


def read_call(id: Any, name: Any, arguments: Any) -> ToolCall:
    """Return a call of a tool from a reply, whose arguments are an object or its JSON text."""
    known = _read_arguments(arguments)
    return ToolCall(
        whole(id) if isinstance(id, str) else "",
        whole(name) if isinstance(name, str) else "",
        known,
        "" if known is not None else whole(str(arguments)),
    )


def _read_arguments(value: Any) -> dict[str, Any] | None:
    """Return the arguments of a call, from JSON text or an object; None for what is no JSON object.

    No text at all means no arguments.
    """
    try:
        if isinstance(value, str):
            value = json.loads(value, parse_constant=_refuse) if value.strip() else {}
        plain = whole_values({} if value is None else value)
        msgspec.msgpack.encode(plain)  # fails for an integer of more than 64 bits, which no store can hold
    except (ValueError, OverflowError, RecursionError, TypeError):
        return None
    return dict(plain) if isinstance(plain, Mapping) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


class StreamedCalls:
    """The calls of a streamed reply, put together from its deltas."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._by_index: dict[Any, dict[str, Any]] = {}

    def add(self, delta: Mapping[str, Any]) -> bool:
        """Add what a delta holds of calls; return whether it holds anything."""
        pieces = _entries(delta)
        for piece in pieces:
            self._add(piece)
        return bool(pieces)

    def _add(self, piece: Mapping[str, Any]) -> None:
        entry = self._entry(piece)
        inner = piece.get("function")
        function = inner if isinstance(inner, Mapping) else piece
        for name in ("name", "arguments"):
            value = function.get(name)
            if isinstance(value, str):
                before = entry["function"].get(name) or ""
                # Some servers repeat the name in each piece.
                repeated = name == "name" and value == before
                entry["function"][name] = before if repeated else before + value
            elif value is not None:
                entry["function"][name] = value
        entry.update({k: v for k, v in piece.items() if k not in _KNOWN and v is not None})

    def _entry(self, piece: Mapping[str, Any]) -> dict[str, Any]:
        """Return the call that a piece belongs to: by index, else the last; a new id begins a new one."""
        id, index = piece.get("id") or "", piece.get("index")
        if index is not None:
            entry = self._by_index.get(index)
        else:
            entry = self.entries[-1] if self.entries and (id or not _begins(piece)) else None
        if entry is None or (id and entry["id"] and id != entry["id"]):
            entry = {"id": id, "function": {}}
            self.entries.append(entry)
            if index is not None:
                self._by_index[index] = entry
        entry["id"] = entry["id"] or id
        return entry


def _begins(piece: Mapping[str, Any]) -> bool:
    function = piece.get("function")
    return isinstance(function, Mapping) and bool(function.get("name"))
