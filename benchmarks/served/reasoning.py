"""Checks of a model that reasons: tiny-think counts before it answers, for each effort to a known number."""

from __future__ import annotations

import argparse

import msgspec

from benchmarks.served.chat import ANSWERS, PROMPT, SCHEMA, right_answers
from benchmarks.served.common import connect, expect
from evalkit.types import Response
from tests.servers.taught import COUNTS

SHORT = 32  # tokens of reasoning, fewer than the model takes by itself


async def check_channel(args: argparse.Namespace) -> str:
    """Check that reasoning is found, gets room beside short answers, and is no part of them."""
    for params in ("", "?stream=true"):
        async with connect(args, params) as model:
            replies = await right_answers(model, max_tokens=8)
            expect([counted(reply) for reply in replies], [COUNTS[""]] * len(replies))
            found = model.facts.server["reasoning"]
    return f"in the {found['channel']}, {found['allowance']:,} tokens of room, {len(ANSWERS)} answers right"


async def check_efforts(args: argparse.Namespace) -> str:
    """Check that each effort reaches the chat template: the model counts as far as it was taught for it."""
    told = []
    for effort, count in {**COUNTS, "none": 0}.items():
        if effort:
            async with connect(args, f"?effort={effort}") as model:
                response = await model.generate("What is 2+2?", max_tokens=8)
            expect((effort, response.text, counted(response)), (effort, "4", count))
            expect(model.facts.server["reasoning"]["effort"], "followed")
            told.append(f"{effort} {count}")
    return f"counted to: {', '.join(told)}"


async def check_budget(args: argparse.Namespace) -> str:
    """Check that the server ends reasoning at the number of tokens of the spec, and then answers."""
    async with connect(args, f"?reasoning_tokens={SHORT}") as model:
        response = await model.generate("What is 2+2?", max_tokens=64)
    found = model.facts.server["reasoning"]
    words = len(response.reasoning.split())
    expect((found["tokens"], 0 < words < SHORT, bool(response.text)), ("server", True, True))
    return f"{words} numbers in {SHORT} tokens, then an answer: {response.text!r}"


async def check_marks(args: argparse.Namespace) -> str:
    """Check reasoning between marks in plain completions: a reply that is cut inside it is asked again."""
    async with connect(args, "?api=completions") as model:
        response = await model.generate(PROMPT, max_tokens=8)
        expect((response.text, response.finish_reason), ("4", "stop"))
        expect((counted(response), bool(response.notes)), (COUNTS[""], True))
    return "asked again with room, then split at its marks"


async def check_schema(args: argparse.Namespace) -> str:
    """Check that a JSON schema binds the answer, and leaves the reasoning before it alone."""
    async with connect(args) as model:
        response = await model.generate("Give JSON.", max_tokens=64, json_schema=SCHEMA)
    expect(counted(response), COUNTS[""])
    value = msgspec.json.decode(response.text)
    expect(type(value["answer"]), int)
    return f"{value} after {counted(response)} words of reasoning"


def counted(response: Response) -> int:
    """Return how far the model counted. Raises ``AssertionError`` for any other thought."""
    words = response.reasoning.split()
    expect(words, [str(n) for n in range(1, len(words) + 1)])
    return len(words)
