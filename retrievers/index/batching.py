"""Batches concurrent calls: calls that arrive while a batch is being answered form the next batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Answers single questions with a function that answers a list of questions.

    One batch of at most ``limit`` questions runs at a time. An exception of the function is raised for every
    question of the batch. Cancelling one caller does not affect the others.
    """

    def __init__(self, answer: Callable[[list[Q]], Awaitable[list[A]]], limit: int) -> None:
        self._answer, self._limit = answer, limit
        self._turn = asyncio.Lock()
        self._filling: list[Q] = []
        self._task: asyncio.Task[list[A]] | None = None

    async def ask(self, question: Q) -> A:
        """Return the answer to one question."""
        if self._task is None or self._task.done() or len(self._filling) >= self._limit:
            self._filling = []
            self._task = asyncio.create_task(self._run(self._filling))
        index, task = len(self._filling), self._task
        self._filling.append(question)
        return (await asyncio.shield(task))[index]

    async def _run(self, batch: list[Q]) -> list[A]:
        async with self._turn:
            if self._filling is batch:
                self._task = None  # from here on, questions go into the next batch
            return await self._answer(batch)
