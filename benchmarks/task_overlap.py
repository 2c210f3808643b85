"""A RAG task with stages of set durations, for ``benchmarks/overlap.py``.

Retrieval takes a time per query, in batches; a judge is asked after the model; the metric sleeps. The
durations are environment variables, because metrics run in separate processes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evalkit_retrievers.index.batching import Batcher

from evalkit import Answer, Image, Message, Model, Requirements, Sample, Text, fixture, task
from evalkit.metrics import metric
from evalkit.models.connect import connect

FIND_S = float(os.environ.get("OVERLAP_FIND_S", "0"))
SCORE_S = float(os.environ.get("OVERLAP_SCORE_S", "0"))
PICTURES = Path(os.environ.get("OVERLAP_PICTURES", "pictures"))  # one for each sample
PASSAGES = [f"Passages {i}. " + "x" * 2_000 for i in range(40)]


def find(numbers: list[int]) -> list[str]:
    """Return the passages for each question of a batch."""
    time.sleep(FIND_S * len(numbers))
    return [PASSAGES[number % len(PASSAGES)] for number in numbers]


@fixture
async def finder() -> Batcher[int, str]:
    """A retriever that works in a separate thread."""
    thread = ThreadPoolExecutor(1)
    return Batcher(
        lambda numbers: asyncio.get_running_loop().run_in_executor(thread, find, numbers), limit=16
    )


@fixture(scope="task")
async def judge(cache_dir: Path, judge_spec: str = "baseline:lead") -> AsyncIterator[Model]:
    """Connect a second model, on a separate server."""
    async with connect(judge_spec, Requirements(), cache_dir / "judge.db", stop=asyncio.Event()) as (
        _,
        model,
    ):
        yield model


def samples(n: int = 1_000) -> list[Sample]:
    return [Sample(str(i), f"Question {i}?") for i in range(n)]


@metric(kind="fact", high=None)
def slow_length(sample: Sample, answer: Answer) -> float:
    time.sleep(SCORE_S)
    return float(len(answer.reply))


@task(samples, metrics=[slow_length])
async def overlap(sample: Sample, model: Model, judge: Model, finder: Batcher[int, str]) -> Answer:
    number = int(sample.id)
    passages = await finder.ask(number)
    parts = (Text(passages), Image.open(PICTURES / f"{number}.png"), Text(sample.input))
    response = await model.generate([Message("user", parts)], max_tokens=256)
    await judge.generate(f"Is this right?\n\n{response.text}\n\n{sample.input}", max_tokens=64)
    return Answer(response)
