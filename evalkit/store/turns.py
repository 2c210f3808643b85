"""Conversations among the requests of a sample: each turn is stored once, and they are shown turn by turn.

A request of a conversation repeats all earlier turns. The store keeps only the new ones, and ``after``, the
number of the request that holds those before: a conversation of n turns takes the room of n turns, not of n².
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from evalkit.errors import MetricError
from evalkit.facts import Conversed, Dialogue, Replied, ToolUse, read
from evalkit.store.records import SampleRecord
from evalkit.types import Answer

Described = dict[str, Any]  # a request or a message as ``evalkit.requests`` describes it

_AFTER = "after"
_NEAR = 8  # conversations of one sample that may be held at the same time


def compacted(requests: Sequence[Described]) -> tuple[Described, ...]:
    """Return requests as the store keeps them: of one that continues another, only what is new."""
    if len(requests) < 2:
        return tuple(requests)
    return tuple(_compact(requests, number) for number in range(len(requests)))


def _compact(requests: Sequence[Described], number: int) -> Described:
    request = requests[number]
    if (earlier := continued(requests, number)) is None:
        return request
    known = len(requests[earlier]["messages"])
    own = {name: value for name, value in request.items() if name != "tools"}
    return {**own, "messages": request["messages"][known:], _AFTER: earlier}


def expanded(requests: Sequence[Described]) -> tuple[Described, ...]:
    """Return requests whole again: the inverse of ``compacted``."""
    if not any(_AFTER in request for request in requests):
        return tuple(requests)
    whole: list[Described] = []
    for request in requests:
        if _AFTER in request:
            before = whole[request[_AFTER]] if request[_AFTER] in range(len(whole)) else {"messages": ()}
            tools = {"tools": before["tools"]} if "tools" in before else {}
            request = {**request, "messages": [*before["messages"], *request["messages"]], **tools}
            del request[_AFTER]
        whole.append(request)
    return tuple(whole)


def continued(requests: Sequence[Described], number: int) -> int | None:
    """Return the number of the request that this one continues, with the same tools; None if it begins."""
    messages, tools = requests[number].get("messages") or (), requests[number].get("tools")
    for earlier in reversed(range(max(0, number - _NEAR), number)):
        before = requests[earlier].get("messages") or ()
        begins = 0 < len(before) < len(messages) and list(messages[: len(before)]) == list(before)
        if begins and requests[earlier].get("tools") == tools:
            return earlier
    return None


class Turn(Struct, frozen=True):
    """One message of a conversation, as people read it.

    ``calls`` are the tools that a reply calls, with their arguments. ``tool`` is the tool whose result a
    message holds. ``use`` and ``reply`` are the facts about such a call and such a reply, where recorded.
    """

    role: str
    text: str
    calls: tuple[tuple[str, dict[str, Any] | str], ...] = ()
    reasoning: str = ""
    tool: str = ""
    use: ToolUse | None = None
    reply: Replied | None = None


class Talk(Struct, frozen=True):
    """A conversation among a sample's requests: its turns, the numbers of its requests from 0, its facts."""

    turns: tuple[Turn, ...]
    requests: tuple[int, ...]
    facts: Dialogue | None = None


def talks(record: SampleRecord) -> list[Talk]:
    """Return the conversations of a sample: requests that continue one another, and a recorded one."""
    requests, last = record.requests, len(record.requests) - 1
    before = [continued(requests, number) for number in range(len(requests))]
    found = []
    for end in (number for number in range(len(requests)) if number not in before):
        numbers = [end]
        while (earlier := before[numbers[0]]) is not None:
            numbers.insert(0, earlier)
        facts = _facts(record.answer) if end == last else None
        if facts or len(numbers) > 1:
            messages = [*requests[end]["messages"], *(_ending(record.answer, facts) if end == last else ())]
            found.append(Talk(_turns(messages, facts), tuple(numbers), facts))
    return found


def _facts(answer: Answer | None) -> Dialogue | None:
    try:
        return read(answer, Conversed).conversation if answer else None
    except MetricError:  # a task's own metadata of this name
        return None


def _ending(answer: Answer | None, facts: Dialogue | None) -> Iterable[Described]:
    """Yield the messages after the last request: the reply, and the results of its calls."""
    if answer is None or answer.response is None:
        return
    response = answer.response
    calls = [msgspec.to_builtins(call) for call in response.tool_calls]
    yield {
        "role": "assistant",
        "content": response.text,
        "tool_calls": calls,
        "reasoning": response.reasoning,
    }
    yield from facts.results if facts else ()


T = TypeVar("T")


def _turns(messages: Sequence[Described], facts: Dialogue | None) -> tuple[Turn, ...]:
    uses = _from_the_end(messages, "tool", facts.tool_calls if facts else [])
    replies = _from_the_end(messages, "assistant", facts.replies if facts else [])
    names: dict[str, str] = {}
    turns = []
    for place, message in enumerate(messages):
        calls = [call for call in message.get("tool_calls") or () if isinstance(call, Mapping)]
        names |= {str(call.get("id")): str(call.get("name")) for call in calls}
        reply = replies.get(place)
        reasoning = message.get("reasoning") or (reply.reasoning if reply else "")
        turns.append(
            Turn(
                str(message.get("role")),
                shown(message.get("content")),
                tuple((str(call.get("name")), _arguments(call)) for call in calls),
                str(reasoning),
                names.get(str(message.get("tool_call_id")), ""),
                uses.get(place),
                reply,
            )
        )
    return tuple(turns)


def _arguments(call: Mapping[str, Any]) -> dict[str, Any] | str:
    arguments = call.get("arguments")
    return arguments if isinstance(arguments, dict) else str(call.get("raw") or "")


def _from_the_end(messages: Sequence[Described], role: str, facts: Sequence[T]) -> dict[int, T]:
    """Return facts by the place of their message: the last ones of the role, where there are as many."""
    places = [place for place, message in enumerate(messages) if message.get("role") == role]
    if not facts or len(facts) > len(places):
        return {}
    return dict(zip(places[-len(facts) :], facts, strict=True))


def shown(content: Any) -> str:
    """Return a message's content as text; a picture, a sound or a film in brackets."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list | tuple) else [content]
    return "\n".join(str(p["text"]) if isinstance(p, Mapping) and "text" in p else _json(p) for p in parts)


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
