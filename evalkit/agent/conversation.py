"""The result of a conversation: its messages, the calls of tools, and why it ended."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from evalkit.agent.function_tool import as_text
from evalkit.facts import Conversed, Dialogue, Replied, ToolUse
from evalkit.requests import describe_message
from evalkit.types import Answer, Message, Response, Status, ToolCall

Stopped = Literal["answer", "tool", "user", "max_turns", "context", "length", "refusal"]
Problem = Literal["unknown", "arguments", "failed"]


class CalledTool(Struct, frozen=True):
    """One call of a tool in turn ``turn``, from 1, and ``result``, the text that the model was told.

    ``problem``: the model called an unknown tool (``unknown``), its ``arguments`` do not fit the
    tool's schema, or the tool ``failed``. None: the tool returned after ``seconds``.
    """

    turn: int
    call: ToolCall
    result: str
    seconds: float = 0.0
    problem: Problem | None = None


class Conversation(Struct, frozen=True):
    """What ``converse`` returns.

    - ``messages``: the whole conversation, from the first message to the last.
    - ``replies``: the model's replies, of which ``response`` is the last, and ``turns`` the number.
    - ``calls``: the calls of tools, in the order in which the model made them.
    - ``stopped``: the model gave an ``answer`` without a call; a ``tool`` or the ``user`` ended the
      conversation; ``max_turns`` were used up; it outgrew the model's ``context``; the last reply was cut
      (``length``) or was a ``refusal``.
    - ``final``: the value with which a tool ended the conversation (``Done``), the answer unless it is None.
    """

    messages: tuple[Message, ...]
    replies: tuple[Response, ...]
    stopped: Stopped
    calls: tuple[CalledTool, ...] = ()
    final: Any = None

    @property
    def response(self) -> Response:
        """The last reply."""
        return self.replies[-1]

    @property
    def turns(self) -> int:
        """The number of replies."""
        return len(self.replies)

    @property
    def text(self) -> str:
        """The answer: the value with which a tool ended the conversation, else the text of the last reply."""
        return self.response.text if self.final is None else as_text(self.final)

    @property
    def unknown_tools(self) -> int:
        """The number of calls of unknown tools."""
        return self._count("unknown")

    @property
    def broken_arguments(self) -> int:
        """The number of calls with arguments that are no JSON object, or do not fit the tool's schema."""
        return self._count("arguments")

    @property
    def tool_failures(self) -> int:
        """The number of calls in which the tool itself failed."""
        return self._count("failed")

    def _count(self, problem: Problem) -> int:
        return sum(called.problem == problem for called in self.calls)

    @property
    def facts(self) -> Dialogue:
        """What ``answer.metadata["conversation"]`` holds: all that the sample's requests do not."""
        tail = next((n for n, m in enumerate(reversed(self.messages)) if m.role != "tool"), 0)
        return Dialogue(
            self.turns,
            self.stopped,
            self.unknown_tools,
            self.broken_arguments,
            self.tool_failures,
            [ToolUse(c.turn, c.call.name, round(c.seconds, 3), c.problem) for c in self.calls],
            [_replied(r, whole=r is not self.response) for r in self.replies],
            [describe_message(m) for m in self.messages[len(self.messages) - tail :]],
        )

    def answer(self, **fields: Any) -> Answer:
        """Return the conversation as the task's answer: ``text``, and ``facts`` in its metadata.

        ``fields`` are those of ``Answer``, such as ``passages``; ``metadata`` is added to the facts. A
        conversation that used up its turns or the context has no answer: its status is ``truncated``.
        """
        status = Status.TRUNCATED if self.stopped in ("max_turns", "context") else None
        if self.final is not None and not self.text.strip():
            status = Status.EMPTY
        metadata = msgspec.to_builtins(Conversed(self.facts)) | fields.pop("metadata", {})
        text = UNSET if self.final is None else self.text
        return Answer(
            **{"response": self.response, "text": text, "status": status, "metadata": metadata, **fields}
        )


def _replied(response: Response, *, whole: bool) -> Replied:
    usage = response.usage
    return Replied(
        usage.prompt_tokens,
        usage.completion_tokens,
        round(response.latency_s, 3),
        response.from_cache,
        response.reasoning if whole else "",
    )
