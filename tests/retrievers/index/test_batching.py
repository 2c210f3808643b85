"""Calls that come while others are answered are answered together."""

from __future__ import annotations

import asyncio

import pytest
from evalkit_retrievers.index.batching import Batcher


class Doubling:
    """Doubles numbers, waits for leave, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.leave = asyncio.Event()

    async def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(list(numbers))
        await self.leave.wait()
        if -1 in numbers:
            raise ValueError("minus one")
        return [2 * n for n in numbers]


async def test_latecomers_form_the_next_batch_and_each_gets_its_own_answer() -> None:
    double = Doubling()
    batcher = Batcher(double, limit=4)
    first = [asyncio.create_task(batcher.ask(n)) for n in range(2)]
    await asyncio.sleep(0.01)
    late = [asyncio.create_task(batcher.ask(n)) for n in range(2, 12)]
    await asyncio.sleep(0.01)
    double.leave.set()
    assert await asyncio.gather(*first, *late) == [2 * n for n in range(12)]
    assert double.batches == [[0, 1], [2, 3, 4, 5], [6, 7, 8, 9], [10, 11]]


async def test_a_cancelled_caller_and_a_failed_batch_leave_the_others_alone() -> None:
    double = Doubling()
    batcher = Batcher(double, limit=2)
    tasks = [asyncio.create_task(batcher.ask(n)) for n in (1, 2, -1, 3, 4)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    double.leave.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1] == 4
    assert [str(a) for a in answers[2:4]] == ["minus one", "minus one"]
    assert answers[4] == 8
    with pytest.raises(ValueError, match="minus one"):
        await batcher.ask(-1)
    assert await batcher.ask(21) == 42
