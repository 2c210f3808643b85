"""Conversations of every shape that evalkit can send, for property tests (hypothesis)."""

from __future__ import annotations

from hypothesis import strategies as st

from evalkit.types import Image, Message, Request, Text, Tool, ToolCall

PNG = Image.of(b"\x89PNG\r\n", "image/png")
JPEG = Image.of(b"\xff\xd8\xff", "image/jpeg")
SEARCH = Tool(
    "search",
    "Find abstracts.",
    {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)
NOW = Tool("now")
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}

plain_text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | plain_text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(plain_text, inner, max_size=2),
    max_leaves=4,
)
arguments = st.dictionaries(plain_text, values, max_size=3)
parts = st.lists(plain_text.map(Text) | st.sampled_from([PNG, JPEG]), min_size=1, max_size=3).map(tuple)
user_turns = (plain_text | parts).map(lambda content: [Message("user", content)])


@st.composite
def _tool_turns(draw: st.DrawFn) -> list[Message]:
    """Return a turn that calls tools, their results, and nothing after them."""
    names = draw(st.lists(st.sampled_from(["search", "now"]), min_size=1, max_size=3))
    number = draw(st.integers(0, 10**6))
    calls = tuple(ToolCall(f"c{number}_{i}", name, draw(arguments)) for i, name in enumerate(names))
    text = draw(st.just("") | plain_text)
    results = [Message("tool", draw(plain_text | st.just("")), tool_call_id=call.id) for call in calls]
    return [Message("assistant", text, tool_calls=calls), *results]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Return a request: system messages, turns of user, model and tools, with every option on or off."""
    messages = [Message("system", text) for text in draw(st.lists(plain_text, max_size=2))]
    messages += draw(user_turns)
    answered = plain_text.map(lambda text: [Message("assistant", text), Message("user", "Go on.")])
    for turns in draw(st.lists(answered | _tool_turns(), max_size=3)):
        messages += turns
    called = any(message.tool_calls for message in messages)
    tools = (SEARCH, NOW) if called or draw(st.booleans()) else ()
    return Request(
        messages=tuple(messages),
        tools=tools,
        tool_choice=draw(st.sampled_from(["auto", "none", "required", "search"])) if tools else "auto",
        max_tokens=draw(st.integers(16, 4000)),
        stop=draw(st.lists(plain_text, max_size=2).map(tuple)),
        json_schema=draw(st.none() | st.just(SCHEMA)),
    )
