"""Runs the tools that a model calls, and puts each outcome into words for the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evalkit.agent.conversation import CalledTool, Problem
from evalkit.agent.function_tool import BrokenArguments, Done, FunctionTool, as_text
from evalkit.errors import EvalkitError, UsageError
from evalkit.types import Content, Image, Text, ToolCall
from evalkit.util.boundary import is_request_to_stop, reason
from evalkit.util.masking import excerpt


class Made(NamedTuple):
    """A call that was made, the message's content that tells the model its result, and the tool's value."""

    called: CalledTool
    content: Content
    value: Any


class UnknownTool(LookupError):
    """A call of an unknown tool."""


class Toolbox:
    """The tools of one conversation. Raises ``UsageError`` for a tool without a function."""

    def __init__(self, tools: Sequence[FunctionTool]) -> None:
        if isinstance(tools, FunctionTool):
            raise UsageError(f"tools= takes a list: write tools=[{tools.name}]")
        self.tools = tuple(tools)
        for tool in self.tools:
            if not isinstance(tool, FunctionTool):
                raise UsageError(
                    f"converse runs tools, and {getattr(tool, 'name', tool)!r} has no function: write @tool "
                    "above it, or ask once with Model.generate(tools=...)"
                )
        self._tools: Mapping[str, FunctionTool] = {tool.name: tool for tool in self.tools}
        self._one_by_one = asyncio.Lock()

    async def run(self, calls: Sequence[ToolCall], turn: int) -> list[Made]:
        """Run the calls of one turn at the same time, functions that are not async one after the other.

        Raises an error of evalkit that a tool raises: it is no failure of the tool.
        """
        made = await asyncio.gather(*(self._run(call, turn) for call in calls), return_exceptions=True)
        for outcome in made:
            if isinstance(outcome, BaseException):
                raise outcome
        return [outcome for outcome in made if isinstance(outcome, Made)]

    async def _run(self, call: ToolCall, turn: int) -> Made:
        start = time.perf_counter()
        problem: Problem | None = None
        value: Any = None
        try:
            value = await self._value(call)
            content = _content(value.value if isinstance(value, Done) else value, f"the tool {call.name}")
        except UnknownTool:
            known = ", ".join(self._tools) or "none"
            problem, content = "unknown", f"error: there is no tool {call.name!r}. Tools: {known}"
        except BrokenArguments as error:
            problem, content = "arguments", f"error: the arguments of {call.name}: {error}"
        except BaseException as error:
            if is_request_to_stop(error) or isinstance(error, EvalkitError):
                raise
            problem, content = "failed", f"error: {excerpt(reason(error), 2000)}"
        called = CalledTool(turn, call, _as_text(content), time.perf_counter() - start, problem)
        return Made(called, content, value)

    async def _value(self, call: ToolCall) -> Any:
        if (tool := self._tools.get(call.name)) is None:
            raise UnknownTool
        if call.arguments is None:
            raise BrokenArguments(f"no JSON object: {excerpt(call.raw, 500)!r}")
        arguments = tool.read(call.arguments)
        if tool.is_async:
            return await tool.call(arguments)
        async with self._one_by_one:
            return await tool.call(arguments)


def _content(value: Any, who: str) -> Content:
    """Return a tool's value as the content of a message: with pictures as parts, else as a text."""
    parts = value if isinstance(value, list | tuple) else (value,)
    if not any(isinstance(part, Image | Text) for part in parts):
        return as_text(value, who)
    return tuple(part if isinstance(part, Image | Text) else Text(as_text(part, who)) for part in parts)


def _as_text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        part.text if isinstance(part, Text) else f"[image {part.sha256[:8]}]" for part in content
    )
