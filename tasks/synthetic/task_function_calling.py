"""Function calling: call the right functions of a clinic with the right arguments, or none.

Requests and functions are generated from a seed. Names, arguments and their types are compared exactly,
without a judge; the order of calls does not matter. Categories (slice ``category``): ``one``, ``choice``,
``optional``, ``parallel``, ``several``, and ``irrelevant`` and ``missing``, where no call is right. Units and
dates are words in the request and codes in the schema.

Where no call is right the reply must say NO CALL: an empty reply, or one whose calls the server did not
read, is wrong there too. A model that always says NO CALL is right on 2 of 7 samples, and scores 0 on
``call_accuracy``, which counts only where calls are right; one that always calls scores 0 on
``no_call_accuracy``.

    evalkit run function_calling --model sglang:NAME@http://127.0.0.1:30000
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evalkit import Answer, Info, Message, Model, Requirements, Sample, task
from evalkit.types import ToolCall

from . import calling
from .call_scoring import EXACT
from .functions import FUNCTIONS

SYSTEM = (Path(__file__).parent / "prompts" / "function_calling.txt").read_text(encoding="utf-8").strip()


def samples(seed: int = 7, requests: int = 210) -> Iterator[Sample]:
    return calling.samples(seed, requests)


@task(
    samples,
    metrics=EXACT,
    tags=["biomedical", "tools", "synthetic"],
    needs=Requirements(tools=True),
    version=calling.VERSION,
    info=Info(
        "generated from a seed",
        licence="Apache-2.0",
        size="210 requests; any number by -p requests=N",
        ids="the request's number, from 0: 'call-00017'",
    ),
)
async def function_calling(sample: Sample, model: Model) -> Answer:
    """Call the right functions with the right arguments, or none."""
    calls = [ToolCall.of(call["name"], **call["arguments"]) for call in sample.metadata["calls"]]
    messages = [Message("system", SYSTEM), Message("user", sample.input)]
    tools = [FUNCTIONS[name].tool for name in sample.metadata["functions"]]
    perfect = calls or calling.NO_CALL
    return Answer(await model.generate(messages, tools=tools, reference=perfect, max_tokens=512))
