"""Scoring answers by a task's metrics while generation goes on: in a thread, or in worker processes.

Worker processes score metrics that prove slow, and metrics with heavy requirements
(``Metric.check_requirements``). A worker imports the task file to get the metrics; only samples, answers and
scores are sent, as MessagePack. Fast metrics stay in a thread, because sending would cost more than scoring.
So do short runs and tasks without a file (from a notebook).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import msgspec

from evalkit.errors import SetupError
from evalkit.metric import Metric
from evalkit.task import Task
from evalkit.types import Answer, Sample, Score, Status

Scorable = tuple[Sample, Answer, Status]

# Below this many samples a worker's start-up costs more than it saves.
SMALL = 64
# CPU seconds per sample above which workers pay off: several times the cost of sending.
COSTLY_S = 0.0003

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[Sample, Answer, Status]]).decode
_decode_scores = msgspec.msgpack.Decoder(list[tuple[Score, ...]]).decode


def score(metrics: Sequence[Metric], sample: Sample, answer: Answer, status: Status) -> tuple[Score, ...]:
    """Return the scores of one answer: none for a metric that returns None, an error for one that raises."""
    scores: list[Score] = []
    for metric in metrics:
        try:
            value = metric(sample, answer, status)
        except Exception as error:  # noqa: BLE001 - metrics are plug-in code; the failure is the metric's score
            scores.append(Score(metric.name, None, f"{type(error).__name__}: {error}"))
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
        if any(metric.check_requirements is not None for metric in task.metrics):
            self._start_workers()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *exception: Any) -> None:
        for pool in (self._thread, self._workers):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    async def score(self, batch: Sequence[Scorable]) -> list[tuple[Score, ...]]:
        """Return the scores of a batch, by answer. Raises ``SetupError`` if a worker process was killed."""
        loop = asyncio.get_running_loop()
        if self._workers is None:
            scores, cpu_s = await loop.run_in_executor(self._thread, self._score_in_thread, batch)
            if cpu_s > COSTLY_S * len(batch):
                self._start_workers()
            return scores
        task = self._task
        message = (str(task.path), task.name, task.added, _encode(batch))
        try:
            with _no_ctrl_c():
                scores_of_worker = loop.run_in_executor(self._workers, _score_in_worker, *message)
            return _decode_scores(await scores_of_worker)
        except BrokenProcessPool:
            raise SetupError(
                "a process that scored answers was killed, perhaps because memory ran out. "
                "The replies are stored: resume the run; no reply is requested again"
            ) from None

    def _start_workers(self) -> None:
        """Score in worker processes from now on, if they can import the task."""
        if self._may_use_workers and self._workers is None:
            # spawn: a fork of a process with running threads (torch, the event loop) may deadlock
            context = multiprocessing.get_context("spawn")
            workers = min(4, os.cpu_count() or 1)
            self._workers = ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent)

    def _score_in_thread(self, batch: Sequence[Scorable]) -> tuple[list[tuple[Score, ...]], float]:
        """Return the scores, and the CPU seconds that they took."""
        began = time.thread_time()
        if self._task.prepare is not None:
            self._task.prepare([(sample, answer) for sample, answer, _ in batch])
        scores = [score(self._task.metrics, *scorable) for scorable in batch]
        return scores, time.thread_time() - began


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
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _score_in_worker(path: str, name: str, added: tuple[str, ...], batch: bytes) -> bytes:
    from evalkit.collection.files import load_task
    from evalkit.collection.with_metrics import with_metrics

    task = with_metrics(load_task(path, name), added)
    return _encode([score(task.metrics, *scorable) for scorable in _decode(batch)])
