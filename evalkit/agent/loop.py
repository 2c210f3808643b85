"""The loop of a conversation: the model speaks, its tools run, the user answers, until one ends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evalkit.agent.conversation import CalledTool, Conversation, Problem, Stopped
from evalkit.agent.function_tool import Done, FunctionTool
from evalkit.agent.toolbox import Toolbox
from evalkit.agent.user import User, next_message
from evalkit.errors import RequestRejected, UsageError
from evalkit.model import Model, Reference
from evalkit.reading.patterns import regex
from evalkit.types import Message, Response, ToolCall

# How servers say that a prompt is longer than the model's context: OpenAI, vLLM, SGLang, llama.cpp, Mistral;
# Anthropic; Gemini; TGI.
_OUTGROWN = regex(
    r"context[ _-]?(?:length|limit|window|size)|prompt is too long|exceeds the maximum number of tokens"
    r"|tokens\b.{0,40} must be <=",
    re.IGNORECASE,
)

# What the report of a run says of replies whose calls went wrong, and of those that were the last without an
# answer.
NOTES: Mapping[Problem | Stopped, str] = {
    "unknown": "called an unknown tool",
    "arguments": "called a tool with broken arguments",
    "failed": "called a tool that failed",
    "max_turns": "the conversation had used up its turns before the answer",
    "context": "the conversation outgrew the model's context before the answer",
}

Turns = Sequence[Reference] | Callable[[Sequence[Message]], Reference]


async def converse(
    model: Model,
    messages: str | Sequence[Message],
    *,
    tools: Sequence[FunctionTool] = (),
    max_turns: int = 10,
    user: User | None = None,
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
    talk = _Talk(model, chat, tools, user)
    await talk.begin()
    stopped: Stopped | None = None
    while stopped is None and len(talk.replies) < max_turns:
        if answer_last and len(talk.replies) == max_turns - 1 and talk.toolbox.tools:
            generation["tool_choice"] = "none"
        stopped = await talk.take_turn(reference, generation)
    stopped = stopped or "max_turns"
    if stopped in NOTES:
        talk.note(NOTES[stopped])
    final = talk.done.value if talk.done else None
    return Conversation(tuple(chat), tuple(talk.replies), stopped, tuple(talk.calls), final)


class _Talk:
    """A conversation that goes on: its messages, the replies so far, and the calls of tools in them."""

    def __init__(
        self, model: Model, chat: list[Message], tools: Sequence[FunctionTool], user: User | None
    ) -> None:
        self.model, self.chat, self.user = model, chat, user
        self.toolbox = Toolbox(tools)
        self.replies: list[Response] = []
        self.calls: list[CalledTool] = []
        self.done: Done | None = None

    def note(self, *texts: str) -> None:
        """Add notes to the last reply."""
        self.replies[-1] = self.model.note(self.replies[-1], texts)

    async def begin(self) -> None:
        """Let the user speak first where the task has only instructions."""
        if self.user is None or (self.chat and self.chat[-1].role != "system"):
            return
        if await self._hear(self.user):
            raise RequestRejected("the user ended the conversation before it began")

    async def take_turn(self, reference: Turns | None, generation: Mapping[str, Any]) -> Stopped | None:
        """Take one turn of the model and what follows it; return why the conversation ends, if it does."""
        perfect = _perfect(reference, self.chat, len(self.replies))
        try:
            response = await self.model.generate(
                self.chat, tools=self.toolbox.tools, reference=perfect, **generation
            )
        except RequestRejected as problem:
            if not self.replies or not _OUTGROWN.search(str(problem)):
                raise
            return "context"
        self.replies.append(response)
        self.chat.append(spoken(response))
        if response.finish_reason != "stop":
            return "refusal" if response.finish_reason == "refusal" else "length"
        if response.tool_calls:
            return await self._run(response.tool_calls)
        if self.user is None or not response.text.strip():  # nobody can reply to nothing
            return "answer"
        return await self._hear(self.user)

    async def _run(self, calls: Sequence[ToolCall]) -> Stopped | None:
        """Run calls and add their results; return ``tool`` if one of them ends the conversation."""
        made = await self.toolbox.run(calls, len(self.replies))
        if wrong := dict.fromkeys(NOTES[one.called.problem] for one in made if one.called.problem):
            self.note(*wrong)
        for called, content, value in made:
            self.calls.append(called)
            self.chat.append(Message("tool", content, tool_call_id=called.call.id))
            if self.done is None and isinstance(value, Done):
                self.done = value
        return "tool" if self.done else None

    async def _hear(self, user: User) -> Stopped | None:
        """Add the user's next message; return ``user`` if there is none."""
        if (said := await next_message(user, self.chat, self.model)) is None:
            return "user"
        self.chat.append(said)
        return None


def spoken(response: Response) -> Message:
    """Return a reply as a message of the conversation; ``native`` goes back to a vendor that wants it."""
    return Message("assistant", response.text, response.tool_calls, native=response.native)


def _perfect(reference: Turns | None, chat: Sequence[Message], turn: int) -> Reference | None:
    if callable(reference):
        return reference(tuple(chat))
    return reference[min(turn, len(reference) - 1)] if reference else None
