"""Scoring answers by a task's metrics while generation goes on: in a thread, or in worker processes.

Worker processes score metrics that prove slow, and metrics with heavy requirements
(``Metric.check_requirements``). A worker imports the task file to get the metrics; only samples, answers and
scores are sent, as MessagePack. Fast metrics stay in a thread, because sending would cost more than scoring.
So do short runs and tasks without a file (from a notebook).

A worker process may be killed: by a crash in a metric's library, or for lack of memory. Its answers are then
scored again call by call, so that only the call that kills a process fails.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import msgspec

from evalkit.metric import Metric
from evalkit.task import Task
from evalkit.types import Answer, Sample, Score, Status
from evalkit.util.boundary import exit_now, reason, refusing_exit

Scorable = tuple[Sample, Answer, Status]

# Below this many samples a worker's start-up costs more than it saves.
SMALL = 64
# CPU seconds per sample above which workers pay off: several times the cost of sending.
COSTLY_S = 0.0003
# After it has killed this many processes, a metric is not called any more: each new process takes a second.
MOST_KILLS = 3

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[Sample, Answer, Status]]).decode
_decode_scores = msgspec.msgpack.Decoder(list[tuple[Score, ...]]).decode


def score(metrics: Sequence[Metric], sample: Sample, answer: Answer, status: Status) -> tuple[Score, ...]:
    """Return the scores of one answer: none for a metric that returns None, an error for one that raises."""
    scores: list[Score] = []
    for metric in metrics:
        try:
            value = metric(sample, answer, status)
        except BaseException as error:  # noqa: BLE001 - plug-in code; the failure is the metric's score
            scores.append(Score(metric.name, None, reason(error)))
            continue
        if value is not None:
            scores.append(Score(metric.name, value))
    return tuple(scores)


class Scorer:
    """Scores batches of answers for one task; a context manager."""

    def __init__(self, task: Task, expected: int | None = None) -> None:
        self._task = task
        self._may_use_workers = task.path is not None and (expected is None or expected > SMALL)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._workers: ProcessPoolExecutor | None = None
        self._alone: ProcessPoolExecutor | None = None  # one process, for answers whose process was killed
        self._one_batch = asyncio.Lock()
        self._kills: Counter[str] = Counter()
        if any(metric.check_requirements is not None for metric in task.metrics):
            self._start_workers()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *exception: Any) -> None:
        for pool in (self._thread, self._workers, self._alone):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    async def score(self, batch: Sequence[Scorable]) -> list[tuple[Score, ...]]:
        """Return the scores of a batch, by answer."""
        loop = asyncio.get_running_loop()
        if (workers := self._workers) is None:
            scores, cpu_s = await loop.run_in_executor(self._thread, self._score_in_thread, batch)
            if cpu_s > COSTLY_S * len(batch):
                self._start_workers()
            return scores
        try:
            return await self._in_process(workers, batch, None)
        except BrokenProcessPool:
            if self._workers is workers:  # the first of several batches
                workers.shutdown(wait=False)
                self._workers = _new_pool(_most_workers())
        async with self._one_batch:
            return [await self._one_by_one(scorable) for scorable in batch]

    def _start_workers(self) -> None:
        """Score in worker processes from now on, if they can import the task."""
        if self._may_use_workers and self._workers is None:
            self._workers = _new_pool(_most_workers())

    async def _in_process(
        self, pool: ProcessPoolExecutor, batch: Sequence[Scorable], metric: str | None
    ) -> list[tuple[Score, ...]]:
        """Return the scores of a batch by all metrics, or by one. Raises ``BrokenProcessPool``."""
        task, loop = self._task, asyncio.get_running_loop()
        with _no_ctrl_c():
            scores = loop.run_in_executor(
                pool, _score_in_worker, str(task.path), task.name, task.added, _encode(batch), metric
            )
        return _decode_scores(await scores)

    async def _one_by_one(self, scorable: Scorable) -> tuple[Score, ...]:
        """Score one answer, each metric by a call of its own: the score of one that kills is an error."""
        scores: list[Score] = []
        for metric in self._task.metrics:
            if self._kills[metric.name] >= MOST_KILLS:
                said = f"its process was killed {MOST_KILLS} times: not called any more"
                scores.append(Score(metric.name, None, said))
                continue
            self._alone = self._alone or _new_pool(1)
            try:
                scores += (await self._in_process(self._alone, [scorable], metric.name))[0]
            except BrokenProcessPool:
                self._alone.shutdown(wait=False)
                self._alone = None
                self._kills[metric.name] += 1
                sample = scorable[0].id
                said = f"its process was killed (a crash, or no memory) while it scored sample {sample!r}"
                scores.append(Score(metric.name, None, said))
        return tuple(scores)

    def _score_in_thread(self, batch: Sequence[Scorable]) -> tuple[list[tuple[Score, ...]], float]:
        """Return the scores, and the CPU seconds that they took."""
        began = time.thread_time()
        if self._task.prepare is not None:
            self._task.prepare([(sample, answer) for sample, answer, _ in batch])
        scores = [score(self._task.metrics, *scorable) for scorable in batch]
        return scores, time.thread_time() - began


def _most_workers() -> int:
    return min(4, os.cpu_count() or 1)


def _new_pool(workers: int) -> ProcessPoolExecutor:
    # spawn: a fork of a process with running threads (torch, the event loop) may deadlock
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent)


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Make processes that start meanwhile ignore Ctrl-C, which a terminal sends to all: the run ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with_parent() -> None:
    """End this worker when the run's process has ended, also by ``kill -9``; the pool would wait for ever."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            exit_now(1)

    threading.Thread(target=watch, daemon=True).start()


def _score_in_worker(path: str, name: str, added: tuple[str, ...], batch: bytes, metric: str | None) -> bytes:
    from evalkit.collection.files import load_task
    from evalkit.collection.with_metrics import with_metrics

    metrics = [m for m in with_metrics(load_task(path, name), added).metrics if metric in (None, m.name)]
    with refusing_exit():
        return _encode([score(metrics, *scorable) for scorable in _decode(batch)])
