"""Batch jobs at a vendor and in the journal: submitted once, found again, looked at until they have ended.

Each job is written to the journal, then submitted, then its id is written. Where it is not known whether a
submission arrived, the vendor is asked for the job before it is submitted again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from evalkit.errors import ModelError, Overloaded, RequestRejected, ServerFailed, SetupError
from evalkit.models.batch.files import Line
from evalkit.models.batch.journal import Job, Journal
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.call_stats import JobProgress
from evalkit.protocols import BatchService, BatchState
from evalkit.util.process import is_alive, this_process

T = TypeVar("T")

# The pauses between looks at a job: a tenth of its age, between these.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
# The pauses after failed submissions.
PAUSES_S = (1.0, 5.0, 20.0, 60.0, 120.0)
# A job takes hours: a network that is gone for minutes does not stop a run that only waits for it.
DOWN_S = 1800.0

_submitting: set[str] = set()  # names of jobs that this process is submitting now


class Jobs:
    """The jobs of one model. ``model`` is its spec; ``down_s``: how long the vendor may not answer."""

    def __init__(self, service: BatchService, journal: Journal, model: str, down_s: float) -> None:
        self._service, self._journal, self._model, self._down_s = service, journal, model, down_s

    async def submit(self, file: Sequence[Line]) -> tuple[str, set[bytes]]:
        """Submit the lines of a file that no other job holds; return the name and the keys of the job.

        Raises ``SetupError`` if that is not possible.
        """
        name = f"evalkit-{uuid.uuid4().hex}"
        _submitting.add(name)
        try:
            keys = self._journal.begin(name, self._model, [line.key for line in file])
            if lines := [line for line in file if line.key in keys]:
                self._journal.submitted(name, await self._submitted(name, lines))
        except BaseException:
            self._journal.release(name)
            raise
        finally:
            _submitting.discard(name)
        return name, keys

    async def _submitted(self, name: str, file: Sequence[Line]) -> str:
        """Submit a job, again where that fails; return the vendor's id."""
        began, in_doubt = time.time(), False
        failure: ModelError | None = None
        for pause in PAUSES_S:
            try:
                if in_doubt and (job := await self._find(name, began)):
                    return job
                in_doubt = False
                return await self._service.submit(name, [line.text for line in file])
            except RequestRejected as problem:
                if not in_doubt:
                    self._journal.drop(name)
                missing = problem.status in (404, 405, 501)
                hint = ". Where the server has no batch interface, leave out batch=true" * missing
                raise SetupError(f"the batch was refused: {problem}{hint}") from None
            except (Overloaded, ServerFailed) as problem:
                failure = problem
                call_stats.current.get().failed(problem)
                in_doubt = in_doubt or not (problem.not_sent or isinstance(problem, Overloaded))
                await asyncio.sleep(max(pause, _retry_after(problem)))
        raise SetupError(f"the batch could not be submitted: {failure}. Stopped here: resume the run later")

    async def identified(self, name: str) -> Job | None:
        """Return a job with the vendor's id; None if it was never submitted."""
        while (job := self._journal.job(name)) is not None and job.id is None:
            if _is_being_submitted(job):
                await asyncio.sleep(SHORTEST_PAUSE_S)
                continue
            found = await self.patiently(partial(self._find, name, job.submitted))
            if found is None:
                self._journal.drop(name)
                return None
            self._journal.submitted(name, found)
        return job

    async def _find(self, name: str, since: float) -> str | None:
        keys = [key.hex() for key in self._journal.keys(name)]
        return await self._service.find(name, keys, since, self._journal.ids())

    async def ended(self, job: Job, progress: JobProgress) -> BatchState:
        """Return the state of a job once it has ended; until then, keep its ``progress`` up to date.

        Raises ``RequestRejected`` of status 404 if the vendor does not know it.
        """
        while True:
            state = await self.patiently(partial(self._state, job))
            if (state.word, state.done) != (progress.state, progress.done):
                progress.state, progress.done = state.word, state.done
                self._journal.note(job.name, state.word, state.done)
            if state.ended:
                progress.ended = True
                return state
            age = time.time() - job.submitted
            await asyncio.sleep(min(max(SHORTEST_PAUSE_S, age / 10), LONGEST_PAUSE_S))

    async def _state(self, job: Job) -> BatchState:
        """Return the state of a job. A new one may not be known yet in all of the vendor's places."""
        for pause in PAUSES_S[:2]:
            try:
                return await self._service.state(job.id or "")
            except RequestRejected as problem:
                if problem.status != 404:
                    raise
                await asyncio.sleep(pause)
        return await self._service.state(job.id or "")

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what a call returns, tried again until the vendor has not answered for ``down_s``."""
        since = time.monotonic()
        while True:
            try:
                return await call()
            except (Overloaded, ServerFailed) as problem:
                call_stats.current.get().failed(problem)
                away = time.monotonic() - since
                if away > self._down_s:
                    raise SetupError(
                        f"no answer about a batch job for {self._down_s:.0f} s; the last failure: {problem}. "
                        "Stopped here: the job goes on, and when the server is back, resume the run"
                    ) from None
                pause = max(SHORTEST_PAUSE_S, _retry_after(problem), away / 10)
                await asyncio.sleep(min(pause, LONGEST_PAUSE_S))


def _retry_after(problem: ModelError) -> float:
    return (problem.retry_after or 0.0) if isinstance(problem, Overloaded) else 0.0


def _is_being_submitted(job: Job) -> bool:
    """Return whether this or another process is submitting a job now."""
    if job.owner == this_process():
        return job.name in _submitting
    return bool(job.owner) and is_alive(job.owner, job.submitted)
