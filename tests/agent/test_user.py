"""The simulated user: a second model, or a function."""

from __future__ import annotations

from typing import Any

import pytest

from evalkit import Message, Sample, SimulatedUser, ToolCall, converse, tool
from evalkit.errors import ModelError, UsageError
from evalkit.status import classify_answer
from evalkit.testing import scripted
from evalkit.types import Response, Status


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def test_a_second_model_plays_the_user_until_it_says_stop() -> None:
    player = scripted("I have a headache.", "Since Monday.", "Thanks! ###STOP###")
    model = scripted([ToolCall.of("add", a=1, b=1)], "Since when?", "Take aspirin.")
    user = SimulatedUser(player, "You are a patient.", sampling={"max_tokens": 60})
    start = [Message("system", "You are a doctor.")]
    conversation = await converse(model, start, tools=[add], user=user)
    said = [(m.role, m.content) for m in conversation.messages if m.role != "tool" and m.content]
    assert said == [
        ("system", "You are a doctor."),
        ("user", "I have a headache."),
        ("assistant", "Since when?"),
        ("user", "Since Monday."),
        ("assistant", "Take aspirin."),
    ]
    assert (conversation.stopped, conversation.turns) == ("user", 3)
    backend: Any = player.sender
    seen = [[(m.role, m.content) for m in request.messages] for request in backend.requests]
    greeting = ("user", "Hello! How can I help you?")
    assert seen[0] == [("system", "You are a patient."), greeting]
    assert seen[1] == [*seen[0], ("assistant", "I have a headache."), ("user", "Since when?")]
    assert backend.requests[0].max_tokens == 60


async def test_the_user_hears_one_message_at_a_time() -> None:
    """Chat templates refuse two messages of one side in a row, which calls of tools make."""
    player = scripted("Thanks. ###STOP###")
    first = Response(text="I add.", tool_calls=(ToolCall.of("add", a=1, b=1),))
    await converse(scripted(first, "It is 2."), "1+1?", tools=[add], user=SimulatedUser(player, "Ask."))
    backend: Any = player.sender
    heard = [(m.role, m.content) for m in backend.requests[0].messages[1:]]
    greeting = ("user", "Hello! How can I help you?")
    assert heard == [greeting, ("assistant", "1+1?"), ("user", "I add.\n\nIt is 2.")]


async def test_a_function_may_be_the_user() -> None:
    lines = iter(["And 2+2?", None])
    conversation = await converse(scripted("2", "4"), "1+1?", user=lambda messages: next(lines))
    assert [m.content for m in conversation.messages] == ["1+1?", "2", "And 2+2?", "4"]
    assert conversation.stopped == "user"

    async def never(messages) -> str:
        return "Go on."

    assert (await converse(scripted("x"), "?", user=never, max_turns=4)).stopped == "max_turns"


async def test_a_user_that_fails_is_no_fault_of_the_model() -> None:
    player = scripted(Response(text="I am", finish_reason="length"))
    with pytest.raises(ModelError, match="the simulated user gave no complete reply: length"):
        await converse(scripted("Hi."), "?", user=SimulatedUser(player, "You are a patient."))


async def test_a_user_that_is_done_before_it_begins_is_an_error() -> None:
    with pytest.raises(ModelError, match="the user ended the conversation before it began"):
        await converse(scripted("Hi."), [Message("system", "Be kind.")], user=lambda messages: None)


async def test_each_repeat_has_a_user_of_its_own() -> None:
    player = scripted("Hm. ###STOP###")
    user = SimulatedUser(player, "You are a patient.")
    for repeat in (0, 1):
        await converse(scripted("Hi.").for_sample(Sample("1", "?"), repeat), "?", user=user)
    backend: Any = player.sender
    assert [(r.repeat, r.sample.id) for r in backend.requests] == [(0, "1"), (1, "1")]


async def test_a_function_that_plays_the_user_must_return_a_text() -> None:
    with pytest.raises(UsageError, match="plays the user returned 7: it must return the user's next text"):
        await converse(scripted("x"), "?", user=lambda messages: 7)


async def test_an_empty_reply_ends_a_conversation_with_a_user() -> None:
    """There is nothing to reply to, and vendors refuse a message without content."""
    conversation = await converse(scripted("", "4"), "2+2?", user=lambda messages: "Well?")
    assert (conversation.stopped, conversation.turns) == ("answer", 1)
    assert classify_answer(conversation.answer()) is Status.EMPTY
