"""Checks of the adapters against a real server. Prints a table; the exit code is 1 if a check fails.

    python -m benchmarks.served --provider sglang --url http://127.0.0.1:30000 --reference FOLDER [--images]
    python -m benchmarks.served --provider sglang --url http://127.0.0.1:30000 --thinks

``--reference`` is the folder that the server runs: its log-probabilities are computed again with
transformers. ``--images`` for a vision model that names the colour of a plain picture, ``--thinks`` for one
that reasons and calls tools, on a server with the parsers for both. The expected answers are those of the
tiny models that tests/servers/make_models.py and make_thinker.py make.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from functools import partial

from benchmarks.served import chat, interfaces, likelihoods, pictures, reasoning, tools
from benchmarks.served.common import Check


def checks(args: argparse.Namespace) -> dict[str, Check]:
    """Return the checks by name."""
    if args.thinks:
        return {
            "probe": chat.check_probe,
            "reasoning found, room for it": reasoning.check_channel,
            "`?effort=`": reasoning.check_efforts,
            "`?reasoning_tokens=`": reasoning.check_budget,
            "marks in completions": reasoning.check_marks,
            "JSON schema after reasoning": reasoning.check_schema,
            "tools: `converse`": tools.check_calls,
            "tools: `tool_choice`": tools.check_choice,
            **{kind: partial(interfaces.check_interface, kind) for kind in interfaces.KINDS},
        }
    every: dict[str, Check] = {
        "probe": chat.check_probe,
        "wrong model refused": chat.check_wrong_model,
        "chat": chat.check_chat,
        "completions": chat.check_completions,
        "JSON schema, regex": chat.check_constraints,
        "context overflow": chat.check_overflow,
    }
    if args.provider == "openai":  # SGLang can force a call by a grammar, without a parser
        every["tools without a parser refused"] = tools.check_tools_refused
    for way in likelihoods.WAYS[args.provider] if args.reference else ():
        every[f"logprobs by {way.name} equal transformers"] = partial(likelihoods.check_logprobs, way)
    if args.images:
        every["images"] = pictures.check_images
        every["several images"] = pictures.check_several_images
        every["image formats"] = pictures.check_formats
        every["image reliance"] = pictures.check_reliance
    return every


async def run(args: argparse.Namespace) -> bool:
    """Run all checks, print a Markdown table, and return whether every check passed."""
    print("| check | result | seconds | figures |\n|---|---|---|---|")
    passed = True
    for name, check in checks(args).items():
        start = time.perf_counter()
        try:
            result, figures = "pass", await check(args)
        except Exception as problem:  # noqa: BLE001 - a check that fails in any way is a line of the table
            result, figures, passed = "**FAIL**", f"{type(problem).__name__}: {problem}", False
        print(f"| {name} | {result} | {time.perf_counter() - start:.2f} | {figures} |", flush=True)
    return passed


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--provider", choices=["sglang", "openai"], required=True, help="the adapter")
    parser.add_argument("--url", required=True, help="http://127.0.0.1:30000")
    parser.add_argument("--model", default="tiny", help="the name it is served under")
    parser.add_argument("--reference", help="the folder of the model, for transformers")
    parser.add_argument("--images", action="store_true", help="the model sees images")
    parser.add_argument("--thinks", action="store_true", help="the model reasons and calls tools")
    sys.exit(0 if asyncio.run(run(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
