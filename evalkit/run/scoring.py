"""Scoring answers by a task's metrics while generation goes on: in a thread, or in worker processes.

Metrics that turn out to take long, and those that need something heavy (``Metric.check_requirements``), are
scored in worker processes. A worker finds the metrics by importing the task file anew: nothing but
samples and answers travels, as MessagePack. For others the journey would cost more than the scoring: they
stay in a thread, as do tasks without a file (made in a notebook) and short runs.
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
# CPU seconds of a sample's metrics that are worth a worker: several times what the journey costs.
COSTLY_S = 0.0003

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[Sample, Answer, Status]]).decode
_decode_scores = msgspec.msgpack.Decoder(list[tuple[Score, ...]]).decode


def score(metrics: Sequence[Metric], sample: Sample, answer: Answer, status: Status) -> tuple[Score, ...]:
    """Scores of one answer. A metric that does not apply gives none; one that raises gives an error."""
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
    """Scores batches for one task. Use as a context manager."""

    def __init__(self, task: Task, expected: int | None = None) -> None:
        self._task = task
        self._may_travel = task.path is not None and (expected is None or expected > SMALL)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._workers: ProcessPoolExecutor | None = None
        if any(metric.check_requirements is not None for metric in task.metrics):
            self._send_away()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *exception: Any) -> None:
        for pool in (self._thread, self._workers):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    async def score(self, batch: Sequence[Scorable]) -> list[tuple[Score, ...]]:
        """Scores of a batch, in its order. Raises ``SetupError`` where a worker process was killed."""
        loop = asyncio.get_running_loop()
        if self._workers is None:
            scores, cpu_s = await loop.run_in_executor(self._thread, self._score_here, batch)
            if cpu_s > COSTLY_S * len(batch):
                self._send_away()
            return scores
        task = self._task
        travels = (str(task.path), task.name, task.added, _encode(batch))
        try:
            with _no_ctrl_c():
                scoring = loop.run_in_executor(self._workers, _score_in_worker, *travels)
            return _decode_scores(await scoring)
        except BrokenProcessPool:
            raise SetupError(
                "a process that scored answers was killed, perhaps for want of memory. The replies are kept: "
                "resume the run, and nothing is asked again"
            ) from None

    def _send_away(self) -> None:
        """From now on, score in worker processes, where they can find the task."""
        if self._may_travel and self._workers is None:
            # spawn: a fork of a process with running threads (torch, the event loop) may deadlock
            context = multiprocessing.get_context("spawn")
            workers = min(4, os.cpu_count() or 1)
            self._workers = ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent)

    def _score_here(self, batch: Sequence[Scorable]) -> tuple[list[tuple[Score, ...]], float]:
        """Scores, and the seconds of CPU that they took."""
        began = time.thread_time()
        if self._task.prepare is not None:
            self._task.prepare([(sample, answer) for sample, answer, _ in batch])
        scores = [score(self._task.metrics, *scorable) for scorable in batch]
        return scores, time.thread_time() - began


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Processes that begin meanwhile never hear Ctrl-C, which a terminal sends to all: the run ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _die_with_parent() -> None:
    """End this worker when the run's process is gone, also by ``kill -9``: the pool would wait for ever."""

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
