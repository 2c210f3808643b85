"""A conversation of the model with its tools and its user, turn by turn. None of the text is trusted."""

from __future__ import annotations

from typing import Any

import msgspec
import streamlit as st

from evalkit.facts import Dialogue, Replied
from evalkit.store.turns import Talk, Turn

from . import text

MOST = 40
"""The number of turns that are drawn until the reader asks for all."""
FOLDED = 600
"""The number of characters from which on a tool's result is folded."""
ONE_LINE = 100
"""The number of bytes of arguments up to which they stand on one line."""
AVATARS = {
    "system": ":material/settings:",
    "user": ":material/person:",
    "assistant": ":material/smart_toy:",
    "tool": ":material/build:",
}
ENDS = {
    "answer": "the model answered",
    "tool": "a tool ended it",
    "user": "the user ended it",
    "max_turns": "its turns were used up",
    "context": "it outgrew the model's context",
    "length": "the last reply was cut, or the server could not read it",
    "refusal": "the model refused",
}
PROBLEMS = {"unknown": "no such tool", "arguments": "broken arguments", "failed": "failed"}


def draw(talk: Talk, key: str) -> None:
    """Draw one conversation under a heading."""
    st.markdown("##### Conversation")
    if talk.facts:
        st.caption(summary(talk.facts))
    turns = talk.turns
    if len(turns) > MOST and not st.toggle(f"Show all {len(turns):,} messages", key=f"all-turns-{key}"):
        st.caption(f"The first {MOST} of {len(turns):,} messages:")
        turns = turns[:MOST]
    for number, turn in enumerate(turns):
        with st.chat_message("message", avatar=AVATARS.get(turn.role, ":material/chat:")):
            message(turn, f"{key}-{number}")


def summary(facts: Dialogue) -> str:
    """Return in one line how a conversation went."""
    counts = [(facts.turns, "reply", "replies"), (len(facts.tool_calls), "call of a tool", "calls of tools")]
    words = [f"{n:,} {one if n == 1 else many}" for n, one, many in counts]
    troubles = [
        (facts.unknown_tools, "of an unknown tool"),
        (facts.broken_arguments, "with broken arguments"),
        (facts.tool_failures, "failed"),
    ]
    words += [f"{n:,} {trouble}" for n, trouble in troubles if n]
    return " · ".join([*words, ENDS.get(facts.stopped, "ended")])


def message(turn: Turn, key: str) -> None:
    """Draw one message."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"{turn.role} {turn.tool}".strip())
        if turn.use and turn.use.problem:
            st.badge(PROBLEMS.get(turn.use.problem, "failed"), icon=":material/error:", color="red")
        if details := _details(turn):
            st.caption(details)
    if turn.reasoning:
        with st.expander("Reasoning"):
            text.show(turn.reasoning, f"{key}-reasoning")
    if turn.role == "tool" and len(turn.text) > FOLDED:
        with st.expander(f"Result: {len(turn.text):,} characters"):
            text.show(turn.text, f"{key}-text")
    elif turn.text or not turn.calls:
        text.show(turn.text, f"{key}-text")
    if turn.calls:
        st.caption("calls")
    for place, (name, arguments) in enumerate(turn.calls):
        text.show(f"{name} {_arguments(arguments)}", f"{key}-call-{place}")


def _details(turn: Turn) -> str:
    if turn.use:
        return f"{turn.use.seconds:.2f} s" if turn.use.seconds >= 0.01 else ""
    return _tokens(turn.reply) if turn.reply else ""


def _tokens(reply: Replied) -> str:
    cached = " · from cache" if reply.from_cache else ""
    return f"{reply.prompt_tokens:,} + {reply.completion_tokens:,} tokens · {reply.seconds:.2f} s{cached}"


def _arguments(arguments: Any) -> str:
    """Return arguments as JSON, on one line if they are short; broken ones as the model wrote them."""
    if isinstance(arguments, str):
        return arguments
    line = msgspec.json.encode(arguments)
    return msgspec.json.format(line, indent=2 if len(line) > ONE_LINE else 0).decode()
