"""The turns of a conversation, as several vendors' interfaces want them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from evalkit.errors import RequestRejected
from evalkit.models.openai import wire
from evalkit.reading.surrogates import whole_values
from evalkit.types import Message, Part, Text, ToolCall

SYSTEM = ("system", "developer")
_ROLES = {*SYSTEM, "user", "assistant", "tool"}


def parts_of(message: Message) -> tuple[Part, ...]:
    """Return a message's content as parts, without texts that are blank: several vendors refuse those."""
    content = message.content
    parts: Sequence[Part] = (Text(content),) if isinstance(content, str) else content
    return tuple(part for part in parts if not isinstance(part, Text) or part.text.strip())


def text_of(message: Message) -> str:
    """Return the text of a message that must have nothing else. Raises ``RequestRejected``."""
    if isinstance(message.content, str):
        return message.content
    if not all(isinstance(part, Text) for part in message.content):
        raise RequestRejected(f"this interface takes only text in a message of role {message.role}")
    return "".join(part.text for part in message.content if isinstance(part, Text))


def leading_system(messages: Sequence[Message]) -> tuple[list[str], Sequence[Message]]:
    """Return the texts of the system messages at the beginning, and the messages after them.

    Raises ``RequestRejected`` for a role that no vendor has.
    """
    if unknown := {message.role for message in messages} - _ROLES:
        raise RequestRejected(f"a message has the role {min(unknown)!r}. Roles: {', '.join(sorted(_ROLES))}")
    start = next((i for i, m in enumerate(messages) if m.role not in SYSTEM), len(messages))
    texts = [text_of(message) for message in messages[:start]]
    return [text for text in texts if text.strip()], messages[start:]


def merged(turns: Sequence[tuple[str, list[Any]]], vendor: str) -> list[tuple[str, list[Any]]]:
    """Return turns of (role, blocks) with neighbours of one role as one turn.

    Raises ``RequestRejected`` if there is none, if one is empty, or if the first is not the user's.
    """
    joined: list[tuple[str, list[Any]]] = []
    for role, blocks in turns:
        if not blocks:
            raise RequestRejected(
                f"{vendor} takes no message without content, and one of role {role} is empty"
            )
        if joined and joined[-1][0] == role:
            joined[-1][1].extend(blocks)
        else:
            joined.append((role, [*blocks]))
    if not joined or joined[0][0] != "user":
        raise RequestRejected(f"{vendor} takes only conversations that begin with a message of role user")
    return joined


def with_extra(payload: dict[str, Any], extra: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the payload with the parameters that a spec or a task passes to the server unchanged.

    An object is joined with the payload's own. A parameter that is None is left out; ``names`` gives the
    vendor's names for evalkit's.
    """
    renamed = {names.get(name, name) if value is None else name: value for name, value in extra.items()}
    joined = {
        name: {**payload[name], **value} if isinstance(value, dict) and name in payload else value
        for name, value in renamed.items()
    }
    return wire.with_extra(payload, joined)


def json_arguments(call: ToolCall) -> str:
    """Return a call's arguments as the text of a JSON object; the model's own text if that was none."""
    return call.raw if call.arguments is None else msgspec.json.encode(call.arguments).decode()


def object_arguments(call: ToolCall) -> dict[str, Any]:
    """Return a call's arguments as an object; what was no JSON object as its text under ``arguments``."""
    return {"arguments": call.raw} if call.arguments is None else call.arguments


def with_call_ids(
    blocks: Sequence[Mapping[str, Any]], kind: str, name: str, calls: Sequence[ToolCall]
) -> list[Any]:
    """Return a vendor's own turn with the ids of ``calls``: a server may have given two calls one id.

    ``kind`` is the type of the blocks that are calls, ``name`` the field of their id.
    """
    left = iter(calls)
    named = [{**block, name: next(left).id} if block["type"] == kind else block for block in blocks]
    return list(whole_values(named))
