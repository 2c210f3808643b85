"""Checks of the adapters for vendors' own interfaces, against a server that copies these interfaces."""

from __future__ import annotations

import argparse

from benchmarks.served.chat import ANSWERS, right_answers
from benchmarks.served.common import connect, expect
from benchmarks.served.tools import WEATHER, weather
from evalkit import converse
from evalkit.types import Requirements

KINDS = {"Anthropic's Messages": ("anthropic", ""), "OpenAI's Responses": ("openai", "?api=responses")}


async def check_interface(kind: str, args: argparse.Namespace) -> str:
    """Check answers after visible reasoning, their usage, and a call of a tool with its result."""
    provider, params = KINDS[kind]
    async with connect(args, params, provider, Requirements(tools=True)) as model:
        replies = await right_answers(model, max_tokens=8)
        expect(all(reply.reasoning for reply in replies), True)
        talk = await converse(
            model, "What is the weather in Tokyo?", tools=[weather], max_turns=3, max_tokens=64
        )
    expect((talk.text, talk.turns), (f"It is {WEATHER['Tokyo']}.", 2))
    return f"{len(ANSWERS)} answers right, reasoning apart, {talk.text}"
