"""The loop of a conversation: the model speaks, its tools run, the user answers, until one ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evalkit.agent.conversation import CalledTool, Conversation, Stopped
from evalkit.agent.function_tool import Done, FunctionTool
from evalkit.agent.toolbox import Toolbox
from evalkit.agent.user import SimulatedUser, UserFunction, next_message
from evalkit.errors import UsageError
from evalkit.model import Model, Reference
from evalkit.types import Message, Response

Turns = Sequence[Reference] | Callable[[Sequence[Message]], Reference]


async def converse(
    model: Model,
    messages: str | Sequence[Message],
    *,
    tools: Sequence[FunctionTool] = (),
    max_turns: int = 10,
    user: SimulatedUser | UserFunction | None = None,
    answer_last: bool = False,
    reference: Turns | None = None,
    **generation: Any,
) -> Conversation:
    """Let a model talk, and run the tools that it calls, for at most ``max_turns`` of its replies.

    - Every reply comes from ``Model.generate`` with ``generation``, so that each passes cache, retries,
      schedule and resume. A resumed sample runs its tools again, and pays for no reply twice.
    - The calls of one turn run at the same time. Functions that are not async run one after the other, in
      the order of the calls, so that tools may change a state that they share.
    - A tool that fails, an unknown tool, and arguments that do not fit are told to the model and counted.
      An error of evalkit (a broken corpus, a server that is down) is no failure of the tool: it is raised.
    - ``user`` answers replies without calls, and ends the conversation. Without a user the first reply
      without calls is the answer.
    - ``answer_last``: the last turn may call no tool (``tool_choice="none"``), so that it has to answer.
    - ``reference`` are the perfect turns, each a text or a list of ``ToolCall.of(...)``, or a function of the
      messages so far: ``baseline:gold`` makes them.

    Raises ``ModelError`` if a call of the model fails.
    """
    if max_turns < 1:
        raise UsageError(f"max_turns={max_turns}: a conversation has at least one turn")
    chat = [Message("user", messages)] if isinstance(messages, str) else list(messages)
    if user is not None and (not chat or chat[-1].role == "system"):
        await _hear(user, chat, model)
    toolbox = Toolbox(tools)
    calls: list[CalledTool] = []
    replies: list[Response] = []
    done: Done | None = None
    for turn in range(1, max_turns + 1):
        if answer_last and turn == max_turns and tools:
            generation["tool_choice"] = "none"
        perfect = _perfect(reference, turn, chat)
        response = await model.generate(chat, tools=tools, reference=perfect, **generation)
        replies.append(response)
        chat.append(spoken(response))
        stopped = _end_of(response)
        if stopped is None and response.tool_calls:
            made = await toolbox.run(response.tool_calls, turn)
            calls += (m.called for m in made)
            chat += (Message("tool", m.content, tool_call_id=m.called.call.id) for m in made)
            done = next((m.value for m in made if isinstance(m.value, Done)), None)
            stopped = "tool" if done else None
        elif stopped is None:
            stopped = "answer" if user is None else await _hear(user, chat, model)
        if stopped:
            break
    final = done.value if done else None
    return Conversation(tuple(chat), tuple(replies), stopped or "max_turns", tuple(calls), final)


def spoken(response: Response) -> Message:
    """Return a reply as a message of the conversation; ``native`` goes back to a vendor that wants it."""
    return Message("assistant", response.text, response.tool_calls, native=response.native)


async def _hear(user: SimulatedUser | UserFunction, chat: list[Message], model: Model) -> Stopped | None:
    """Add the user's next message to the conversation; return ``user`` if there is none."""
    if (said := await next_message(user, chat, model)) is None:
        return "user"
    chat.append(said)
    return None


def _end_of(response: Response) -> Stopped | None:
    if response.finish_reason == "refusal":
        return "refusal"
    return None if response.finish_reason == "stop" else "length"


def _perfect(reference: Turns | None, turn: int, chat: Sequence[Message]) -> Reference | None:
    if callable(reference):
        return reference(tuple(chat))
    return reference[min(turn, len(reference)) - 1] if reference else None
