"""The engine: runs a task's samples against a model in a bounded window and stores each as it ends.

Samples flow one way: window of coroutines, task function, status, scoring, store. There is one failure
boundary, around a sample; ``SetupError`` passes through it and stops the run, because every other sample
would fail the same way.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.errors import ServerFailed, SetupError, StoreError
from evalkit.extras import not_installed
from evalkit.run.display import listed
from evalkit.run.fingerprint import first_samples
from evalkit.run.scoring import Scorer
from evalkit.status import classify_answer
from evalkit.store.records import SampleRecord, Tokens
from evalkit.types import Answer, Bar, Response, Sample, Status

if TYPE_CHECKING:
    from evalkit.model import Model

BATCH = 250
BATCH_S = 0.5
# A server that fails this many samples in a row, each after its retries, is down: stop and let resume go on.
DOWN_AFTER = 20


class Stopped(Exception):
    """The run was asked to stop; what had ended is stored."""


@dataclass
class Work:
    """What one run of the engine is given.

    ``write`` stores a batch of ended samples: in a thread where ``write_waits`` for another machine, else at
    once. A few milliseconds now and then cost less than a thread that asks for the interpreter at every row.
    """

    fn: Callable[..., Awaitable[Answer]]
    arguments: Mapping[str, Any]
    model: Model
    samples: Callable[[], AsyncIterator[Sample]]
    repeats: int
    done: set[int]
    scorer: Scorer
    write: Callable[[list[SampleRecord]], None]
    bar: Bar
    write_waits: bool = False
    window: int = 2048
    limit: int | None = None
    grace_s: float = 5.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def run(work: Work) -> Counter[str]:
    """Run everything that is not in ``work.done``. Returns the counts of statuses of this pass.

    Raises ``SetupError`` where no sample could work, ``Stopped`` when ``work.stop`` was set; in both cases
    everything that ended before is stored.
    """
    return await _Run(work).run()


class _Run:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.ended: list[SampleRecord] = []
        self.some, self.enough = asyncio.Event(), asyncio.Event()  # have ended: one, a batch
        self.over = False
        self.changed = asyncio.Event()  # no task is left, or the run is to stop
        # Ended samples hold their slots until they are stored: a small window must not wait for a big batch.
        self.batch = min(BATCH, max(1, work.window // 2))
        # A slot is held until the sample is stored, so slow scoring holds back generation, not memory.
        self.slots = asyncio.Semaphore(work.window)
        self.tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.fatal: Exception | None = None
        self.failures_in_a_row = 0
        self.writing = asyncio.Lock()

    async def run(self) -> Counter[str]:
        collector = asyncio.create_task(self._collect())
        waker = asyncio.create_task(self._wake())
        try:
            await self._feed()
            await self._drain()
        finally:
            waker.cancel()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            self.over = True
            self.some.set()
            self.enough.set()
            await collector
        if self.fatal is not None:
            raise self.fatal
        if self.work.stop.is_set():
            raise Stopped
        return self.counts

    async def _wake(self) -> None:
        """Once the run is asked to stop, whoever waits is to know."""
        await self.work.stop.wait()
        self.slots.release()
        self.changed.set()

    def _ended_task(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not self.tasks:
            self.changed.set()

    def _fail(self, problem: Exception) -> None:
        """The first problem that stops the whole run."""
        self.fatal = self.fatal or problem
        self.slots.release()
        self.changed.set()

    def _stopping(self) -> bool:
        return self.fatal is not None or self.work.stop.is_set()

    async def _feed(self) -> None:
        """Start a coroutine for each sample, never more than the window at a time."""
        async for sequence, repeat, sample in self._pending():
            await self.slots.acquire()
            if self._stopping():
                return
            task = asyncio.create_task(self._one(sequence, repeat, sample))
            self.tasks.add(task)
            task.add_done_callback(self._ended_task)

    async def _pending(self) -> AsyncIterator[tuple[int, int, Sample]]:
        index = 0
        async for sample in first_samples(self.work.samples, self.work.limit):
            for repeat in range(self.work.repeats):
                sequence = index * self.work.repeats + repeat
                if sequence not in self.work.done:
                    yield sequence, repeat, sample
            index += 1

    async def _drain(self) -> None:
        """Wait for what is in flight; once asked to stop, for a few seconds only."""
        while self.tasks and not self._stopping():
            self.changed.clear()
            await self.changed.wait()
        if self.tasks and self.fatal is None:
            await asyncio.wait(self.tasks, timeout=self.work.grace_s)

    async def _one(self, sequence: int, repeat: int, sample: Sample) -> None:
        """Answer one sample: the failure boundary."""
        model = self.work.model.for_sample(sample, repeat)
        start = time.perf_counter()
        answer: Answer | None = None
        error: str | None = None
        try:
            made = await self.work.fn(sample=sample, model=model, **self.work.arguments)
            if not isinstance(made, Answer):
                raise TypeError(f"the task returned {type(made).__name__}, not an Answer")
            answer = made
            status = classify_answer(answer)
            self.failures_in_a_row = 0
        except (SetupError, StoreError) as problem:
            self._fail(problem)
            return
        except Exception as problem:  # noqa: BLE001 - the one boundary: a sample's failure is its status
            if missing := not_installed(problem):
                self._fail(missing)
                return
            status, error = Status.ERROR, f"{type(problem).__name__}: {problem}"
            self._count_failure(problem)
        calls = model.calls
        self._end(
            SampleRecord(
                sequence=sequence,
                sample=sample,
                repeat=repeat,
                status=status,
                answer=answer,
                requests=tuple(model.describe(call.request) for call in calls),
                images=tuple(image for call in calls for image in call.request.images),
                error=error,
                tokens=_tokens([call.response for call in calls]),
                calls=len(calls),
                calls_from_cache=sum(call.response.from_cache for call in calls),
                latency_s=time.perf_counter() - start,
            )
        )

    def _count_failure(self, problem: Exception) -> None:
        self.failures_in_a_row = self.failures_in_a_row + 1 if isinstance(problem, ServerFailed) else 0
        if self.failures_in_a_row == DOWN_AFTER:
            self._fail(
                SetupError(
                    f"{DOWN_AFTER} samples in a row failed at the server; the last: {problem}. "
                    "Stopped here: when the server is back, resume the run."
                )
            )

    def _end(self, record: SampleRecord) -> None:
        """One more sample for the next batch."""
        self.ended.append(record)
        self.some.set()
        if len(self.ended) >= self.batch:
            self.enough.set()

    async def _collect(self) -> None:
        """Gather ended samples into batches; several are scored at once while more are generated."""
        finishing: set[asyncio.Task[None]] = set()
        while batch := await self._next_batch():
            task = asyncio.create_task(self._finish(batch))
            finishing.add(task)
            task.add_done_callback(finishing.discard)
        await asyncio.gather(*finishing)

    async def _finish(self, batch: list[SampleRecord]) -> None:
        """Score a batch, then store it. A store that fails (a full disk), or a scorer, stops the run."""
        try:
            scored = await self._score(batch)
            async with self.writing:
                if self.work.write_waits:
                    await asyncio.to_thread(self.work.write, scored)
                else:
                    self.work.write(scored)
        except (SetupError, StoreError) as problem:
            self._fail(problem)
            return
        for _ in batch:
            self.slots.release()
        self.counts.update(record.status.value for record in batch)
        self.work.bar.advance(len(batch))
        self.troubles.update(_trouble(record) for record in batch if record.status is not Status.OK)
        self.work.bar.note(listed(self.troubles))

    async def _next_batch(self) -> list[SampleRecord]:
        """All that has ended, once it is a batch or has waited long enough; nothing once all is over."""
        await self.some.wait()
        if not self.enough.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.enough.wait(), BATCH_S)
        batch, self.ended = self.ended, []
        if not self.over:
            self.some.clear()
            self.enough.clear()
        return batch

    async def _score(self, batch: list[SampleRecord]) -> list[SampleRecord]:
        answered = [(r.sample, r.answer, r.status) for r in batch if r.answer is not None]
        if not answered:
            return batch
        scores = iter(await self.work.scorer.score(answered))
        return [r if r.answer is None else msgspec.structs.replace(r, scores=next(scores)) for r in batch]


def _trouble(record: SampleRecord) -> str:
    """What went wrong, in a word: the status, or the kind of error."""
    return record.error.partition(":")[0] if record.error else record.status.value


def _tokens(responses: list[Response]) -> Tokens:
    """Sum of the calls' usage."""
    return Tokens(
        sum(r.usage.prompt_tokens for r in responses),
        sum(r.usage.completion_tokens for r in responses),
        sum(r.usage.cached_tokens for r in responses),
        sum(r.usage.reasoning_tokens for r in responses),
    )
