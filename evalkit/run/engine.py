"""The engine: runs a task's samples against a model in a bounded window and stores each when it ends.

Samples flow one way: window of coroutines, task function, status, scoring, store. One failure boundary
encloses each sample. A ``SetupError`` passes through the boundary and stops the run, because every other
sample would fail in the same way. Everything else that plug-in code raises, ``SystemExit`` and
``CancelledError`` too, is the error of its sample.
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

from evalkit.errors import ServerFailed, SetupError, StoreError, UsageError
from evalkit.extras import not_installed
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.spending import Bill, bill
from evalkit.run.checks import ANSWER
from evalkit.run.display import listed
from evalkit.run.fingerprint import first_samples
from evalkit.run.scoring import Scorer
from evalkit.status import classify_answer
from evalkit.store.codec import pack
from evalkit.store.records import Cut, SampleRecord, Tokens
from evalkit.types import Answer, Bar, Response, Sample, Status
from evalkit.util.boundary import reason

if TYPE_CHECKING:
    from evalkit.model import Model

WINDOW = 2048  # samples in progress
BATCH = 250
BATCH_S = 0.5
# Failures in a row, each after its retries, after which the server counts as down and the run stops.
DOWN_AFTER = 20


class Stopped(Exception):
    """The run was asked to stop; the samples that had ended are stored."""


@dataclass
class Work:
    """The input of one run of the engine.

    ``write`` stores a batch of ended samples. It runs in a thread where ``write_waits`` is set (the store is
    on another machine), else in the event loop: a block of a few milliseconds costs less than a thread that
    competes for the interpreter at every row. ``done`` are the sequences that need no new call; ``grace_s``
    is the time in seconds that samples in flight have to end once ``stop`` is set. An error of ``heartbeat``
    stops the run.
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
    window: int = WINDOW
    limit: int | None = None
    grace_s: float = 5.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    heartbeat: asyncio.Task[None] | None = None


async def run(work: Work) -> Counter[str]:
    """Run the samples that are not in ``work.done``; return how many ended in each status.

    Raises ``SetupError`` for a problem that every sample would have, ``Stopped`` when ``work.stop`` was set
    before every sample had ended. In both cases the samples that ended before are stored.
    """
    return await _Run(work).run()


class _Run:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.ended: asyncio.Queue[SampleRecord | None] = asyncio.Queue()  # None: no sample will end any more
        self.changed = asyncio.Event()  # no task is left, or the run must stop
        # A sample holds its slot until it is stored: slow scoring slows generation and does not fill the
        # memory. A small window therefore needs a small batch.
        self.batch = min(BATCH, max(1, work.window // 2))
        self.slots = asyncio.Semaphore(work.window)
        self.tasks: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.fatal: BaseException | None = None
        self.ending = False  # no sample may go on: only then does a cancellation come from here
        self.cut_off = False  # a sample was not asked, or not to its end
        self.failures_in_a_row = 0
        self.answered = bool(work.done)
        self.writing = asyncio.Lock()

    async def run(self) -> Counter[str]:
        collector = asyncio.create_task(self._collect())
        waker = asyncio.create_task(self._wake())
        if self.work.heartbeat is not None:
            self.work.heartbeat.add_done_callback(self._heartbeat_ended)
        try:
            await self._feed()
            await self._drain()
        finally:
            waker.cancel()
            self.ending = True
            self.cut_off |= bool(self.tasks)
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            self.ended.put_nowait(None)
            await collector
        if self.fatal is not None:
            raise self.fatal
        if self.cut_off:
            raise Stopped
        return self.counts

    async def _wake(self) -> None:
        """Wake ``_feed`` and ``_drain`` when the run is asked to stop."""
        await self.work.stop.wait()
        self.slots.release()
        self.changed.set()

    def _ended_task(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not self.tasks:
            self.changed.set()

    def _fail(self, problem: BaseException) -> None:
        """Stop the whole run; the first problem is the one that ``run`` raises."""
        self.fatal = self.fatal or problem
        self.slots.release()
        self.changed.set()

    def _heartbeat_ended(self, heartbeat: asyncio.Task[None]) -> None:
        if not heartbeat.cancelled() and (problem := heartbeat.exception()) is not None:
            self._fail(problem)

    def _stopping(self) -> bool:
        return self.fatal is not None or self.work.stop.is_set()

    async def _feed(self) -> None:
        """Start a coroutine for each sample, never more than the window at a time."""
        async for sequence, repeat, sample in self._pending():
            await self.slots.acquire()
            if self._stopping():
                self.cut_off = True
                return
            task = asyncio.create_task(self._answer(sequence, repeat, sample))
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
        """Wait for the samples in flight; after a request to stop, for ``grace_s`` at most.

        At a limit of cost or tokens, what is in flight is paid for, and there is no hurry.
        """
        while self.tasks and not self._stopping():
            self.changed.clear()
            await self.changed.wait()
        if self.tasks and self.fatal is None:
            patient = call_stats.current.get().spending.reached
            await asyncio.wait(self.tasks, timeout=None if patient else self.work.grace_s)

    async def _answer(self, sequence: int, repeat: int, sample: Sample) -> None:
        """Answer one sample. This is the failure boundary."""
        model = self.work.model.for_sample(sample, repeat)
        start, spent = time.perf_counter(), Bill()
        bill.set(spent)
        answer: Answer | None = None
        error: str | None = None
        try:
            returned = await self.work.fn(sample=sample, model=model, **self.work.arguments)
            if not isinstance(returned, Answer):
                raise TypeError(f"the task returned {type(returned).__name__}, not an Answer")
            if wrong := ANSWER.wrong(returned):
                raise TypeError(f"the task's Answer: {' '.join(wrong)}")
            status, answer = classify_answer(returned), returned
            self.answered = True
            self.failures_in_a_row = 0
        except (SetupError, StoreError) as problem:
            self._fail(problem)
            return
        except BaseException as problem:  # the one boundary: a sample's failure is its status
            if isinstance(problem, asyncio.CancelledError) and (self.ending or self.work.stop.is_set()):
                self.cut_off = True
                raise
            if isinstance(problem, UsageError) and not self.answered:  # as every other sample would
                self._fail(problem)
                return
            if missing := not_installed(problem):
                self._fail(missing)
                return
            status, error = Status.ERROR, reason(problem)
            self._count_failure(problem)
        calls, of_file = model.calls, model.facts.replies_of_a_file
        from_cache = sum([call.response.from_cache for call in calls])
        if answer is not None:
            for call in calls:
                if call.response.notes:
                    call_stats.current.get().noted(call.response)
                    answer = _with_notes(answer, call.response.notes)
        self.ended.put_nowait(
            SampleRecord(
                sequence=sequence,
                sample=sample,
                repeat=repeat,
                status=status,
                answer=answer,
                requests=tuple([model.describe(call.request) for call in calls]),
                images=tuple([image for call in calls for image in call.request.images]),
                error=error,
                tokens=_tokens([call.response for call in calls]),
                calls=0 if of_file else len(calls),
                calls_from_cache=from_cache,
                latency_s=time.perf_counter() - start,
                cut=_cut(answer.response if answer else None),
                cost=None if of_file else spent.of_model(len(calls) - from_cache),
                judge_cost=spent.judge,
            )
        )

    def _count_failure(self, problem: BaseException) -> None:
        self.failures_in_a_row = self.failures_in_a_row + 1 if isinstance(problem, ServerFailed) else 0
        if self.failures_in_a_row == DOWN_AFTER:
            self._fail(
                SetupError(
                    f"{DOWN_AFTER} samples in a row failed at the server; the last: {problem}. "
                    "Stopped here: when the server is back, resume the run."
                )
            )

    async def _collect(self) -> None:
        """Gather ended samples into batches; score several batches at once while samples are generated."""
        finishing: set[asyncio.Task[None]] = set()
        while batch := await self._next_batch():
            task = asyncio.create_task(self._finish(batch))
            finishing.add(task)
            task.add_done_callback(finishing.discard)
        await asyncio.gather(*finishing)

    async def _finish(self, batch: list[SampleRecord]) -> None:
        """Score a batch, then store it. A failure of the scorer or the store (a full disk) stops the run."""
        try:
            scored = await self._score(batch)
            try:
                await self._write(scored)
            except StoreError:
                batch = [_storable(record) for record in scored]
                if batch == scored:
                    raise
                await self._write(batch)
        except BaseException as problem:  # noqa: BLE001 - the samples would hold their slots for ever
            self._fail(problem)
            return
        for _ in batch:
            self.slots.release()
        self.counts.update(record.status.value for record in batch)
        self.work.bar.advance(len(batch))
        self.troubles.update(_trouble(record) for record in batch if record.status is not Status.OK)
        self.work.bar.note(listed(self.troubles))

    async def _write(self, records: list[SampleRecord]) -> None:
        async with self.writing:
            if self.work.write_waits:
                await asyncio.to_thread(self.work.write, records)
            else:
                self.work.write(records)

    async def _next_batch(self) -> list[SampleRecord]:
        """Return a whole batch, or what has ended ``BATCH_S`` after its first sample; nothing at the end."""
        batch: list[SampleRecord] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as limit:
                while len(batch) < self.batch:
                    if (record := await self.ended.get()) is None:
                        self.ended.put_nowait(None)  # for the next call
                        break
                    if not batch:
                        limit.reschedule(asyncio.get_running_loop().time() + BATCH_S)
                    batch.append(record)
        return batch

    async def _score(self, batch: list[SampleRecord]) -> list[SampleRecord]:
        answered = [(r.sample, r.answer, r.status) for r in batch if r.answer is not None]
        if not answered:
            return batch
        scores = iter(await self.work.scorer.score(answered))
        return [r if r.answer is None else msgspec.structs.replace(r, scores=next(scores)) for r in batch]


def _cut(response: Response | None) -> Cut:
    if response is None or response.finish_reason != "length":
        return ""
    return "reasoning" if response.cut_in_reasoning else "answer"


def _with_notes(answer: Answer, notes: tuple[str, ...]) -> Answer:
    """Return an answer whose response has the notes on a reply to the sample, each once."""
    if answer.response is None or set(notes) <= set(answer.response.notes):
        return answer
    return msgspec.structs.replace(answer, response=answer.response.noted(*notes))


def _storable(record: SampleRecord) -> SampleRecord:
    """Return a record; as an error where its answer holds a value that the store cannot keep."""
    try:
        pack(record.answer)
    except StoreError as problem:
        error = f"TypeError: the task's Answer: {problem}"
        return msgspec.structs.replace(record, status=Status.ERROR, answer=None, scores=(), error=error)
    return record


def _trouble(record: SampleRecord) -> str:
    """Return the kind of error, or else the status."""
    return record.error.partition(":")[0] if record.error else record.status.value


def _tokens(responses: list[Response]) -> Tokens:
    """Return the sum of the usage of the calls."""
    if len(responses) == 1:  # as most samples have
        only = responses[0].usage
        return Tokens(
            only.prompt_tokens,
            only.completion_tokens,
            only.cached_tokens,
            only.reasoning_tokens,
            only.cache_write_tokens,
        )
    return Tokens(
        sum(r.usage.prompt_tokens for r in responses),
        sum(r.usage.completion_tokens for r in responses),
        sum(r.usage.cached_tokens for r in responses),
        sum(r.usage.reasoning_tokens for r in responses),
        sum(r.usage.cache_write_tokens for r in responses),
    )
