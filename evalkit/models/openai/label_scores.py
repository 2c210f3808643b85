"""SGLang's ``/v1/score``: one call for the probabilities of all one-token options of a question."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.util.masking import excerpt

# Seconds for which the first option of a question waits for the others, which come at the same time.
_GATHER_S = 0.005
_MOST = 1.0001  # a probability of 1, rounded

Ask = Callable[[list[int], list[int]], Awaitable[Any]]


@dataclass
class _Question:
    """The options that are scored after one context, and the call that scores them."""

    labels: list[int] = field(default_factory=list)
    task: asyncio.Task[dict[int, float]] | None = None


class LabelScores:
    """Batches the labels that are asked for after one context into one call of ``ask(context, labels)``."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._open: dict[tuple[int, ...], _Question] = {}

    async def logprob(self, context: list[int], label: int) -> float:
        """Return the log-probability of the token ``label`` after ``context``. Raises ``ModelError``."""
        key = tuple(context)
        question = self._open.get(key)
        if question is None:
            question = self._open[key] = _Question()
            question.task = asyncio.create_task(self._answer(key, question))
        if label not in question.labels:
            question.labels.append(label)
        assert question.task is not None  # created with the question
        # Shielded: a cancelled caller must not cancel the call for the others.
        return (await asyncio.shield(question.task))[label]

    async def _answer(self, key: tuple[int, ...], question: _Question) -> dict[int, float]:
        await asyncio.sleep(_GATHER_S)
        del self._open[key]
        data = await self._ask(list(key), question.labels)
        scores = data.get("scores") if isinstance(data, dict) else None
        row = scores[0] if isinstance(scores, list) and len(scores) == 1 else None
        if not isinstance(row, list) or len(row) != len(question.labels):
            raise ServerFailed(f"/v1/score answered without a score for each label: {excerpt(data)}")
        if not all(isinstance(p, int | float) and 0 <= p <= _MOST for p in row) or not any(row):
            raise RequestRejected(f"/v1/score answered with values that are no probabilities: {excerpt(row)}")
        return {
            label: math.log(min(p, 1.0)) if p > 0 else -math.inf
            for label, p in zip(question.labels, row, strict=True)
        }
