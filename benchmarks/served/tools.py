"""Checks of tools: a model that calls them, and a server that was started without a parser for calls."""

from __future__ import annotations

import argparse

from benchmarks.served.common import connect, expect, refused
from evalkit import Conversation, Model, converse, tool
from evalkit.agent import FunctionTool
from evalkit.types import Requirements
from tests.servers.taught import TWO_CITIES

ASKED = "What is the weather in Paris?"
WEATHER = {"Paris": "cold", "Rome": "hot", "Tokyo": "warm"}


@tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return WEATHER[city]


async def check_tools_refused(args: argparse.Namespace) -> str:
    """Check that a task with tools is refused, with the fix, where the server reads no calls."""
    refusal = await refused(args, Requirements(tools=True))
    expect("--tool-call-parser" in refusal, True)
    return refusal.partition(": ")[0].partition(" ")[2][:60]


async def check_calls(args: argparse.Namespace) -> str:
    """Check a call, its result, and the answer from it; and two calls in one turn."""
    for params in ("", "?stream=true"):
        async with connect(args, params, needs=Requirements(tools=True)) as model:
            for city, told in WEATHER.items():
                one = await _talk(model, f"What is the weather in {city}?")
                expect((one.text, one.turns, len(one.calls)), (f"It is {told}.", 2, 1))
            two = await _talk(model, f"What is the weather in {' and '.join(TWO_CITIES)}?")
            expect((two.text, two.turns, len(two.calls)), ("I know both.", 2, 2))
    return (
        f"{len(WEATHER)} answers from results of a call, one from two calls in one turn; streamed and whole"
    )


async def check_choice(args: argparse.Namespace) -> str:
    """Check that calls can be required and forbidden."""
    offered: list[FunctionTool] = [weather]
    async with connect(args) as model:
        required = await model.generate(ASKED, max_tokens=64, tools=offered, tool_choice="required")
        forbidden = await model.generate(ASKED, max_tokens=64, tools=offered, tool_choice="none")
    expect(([call.name for call in required.tool_calls][:1], forbidden.tool_calls), (["weather"], ()))
    return "required: a call of weather; forbidden: none"


async def _talk(model: Model, question: str) -> Conversation:
    return await converse(model, question, tools=[weather], max_turns=3, max_tokens=64)
