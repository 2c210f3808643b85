"""The sender of ``?batch=true``: collects requests, submits them as batch jobs, and waits for the replies.

1. *Collect.* Requests are collected until none has come for ``wait_s`` seconds: by then all samples of the
   window wait for a reply. Second turns and judge calls therefore go in rounds.
2. *Submit.* Each file is written to the journal, then submitted, then its id is written. Where it is not
   known whether a submission arrived, the vendor is asked for the job before it is submitted again.
3. *Wait.* A request that the journal finds in a job waits for that job, also if an earlier run that was
   killed, or another process, has submitted it.
4. *Take.* Replies are matched by key. Lines that are missing, have expired or failed at the vendor are asked
   again, ``TRIES`` times in all.

Rates, slots and the retry budget do not apply: a vendor gives batches limits of their own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from evalkit.errors import EvalkitError, ModelError, Overloaded, RequestRejected, ServerFailed, SetupError
from evalkit.models.batch.files import Line, files
from evalkit.models.batch.journal import Job, Journal
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.call_stats import JobProgress
from evalkit.models.middleware.scheduled import DOWN_S
from evalkit.protocols import BatchResult, BatchService, BatchState
from evalkit.types import Request, Response
from evalkit.util.boundary import reason
from evalkit.util.process import is_alive, this_process

T = TypeVar("T")

# The samples in progress of a run with batches: large enough for files that are worth a wait, and some
# hundred megabytes of suspended samples at most.
WINDOW = 20_000
TRIES = 4
# The pauses between looks at a job: a tenth of its age, between these.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
# The pauses after failed submissions.
PAUSES_S = (1.0, 5.0, 20.0, 60.0, 120.0)
# Replies are in the cache at the end of the turn of the event loop in which they arrive.
_IN_CACHE_AFTER_S = 1.0

_submitting: set[str] = set()  # names of jobs that this process is submitting now


class _Waiting(NamedTuple):
    request: Request
    result: asyncio.Future[BatchResult]


class Batched:
    """Sends requests through a batch interface. ``key`` names a request in the journal: 32 bytes.

    ``model`` is the model's spec, for the journal. Once ``stop`` is set, the waiting requests are cancelled;
    their jobs go on at the vendor.
    """

    def __init__(
        self,
        service: BatchService,
        journal: Journal,
        key: Callable[[Request], bytes],
        *,
        model: str = "",
        stop: asyncio.Event | None = None,
        down_s: float | None = None,
    ) -> None:
        self._service, self._journal, self._key, self._model = service, journal, key, model
        self._stop, self._quiet_s, self._down_s = stop, service.wait_s, down_s or DOWN_S
        self._max_lines = service.max_lines
        self._waiting: dict[bytes, _Waiting] = {}
        self._collected: dict[bytes, Request] = {}  # not yet in a job
        self._known: set[str] = set()  # jobs of the journal that are waited for, and not yet followed
        self._following: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: list[bytes] = []  # keys whose replies are in the cache
        self._last_came = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def send(self, request: Request) -> Response:
        """Answer one request by a batch job. Raises ``ModelError``; ``SetupError`` if no job can succeed."""
        key = self._key(request)
        for attempt in range(TRIES):
            result = await self._result(key, request)
            try:
                response = self._read(result, request)
            except (Overloaded, ServerFailed) as problem:
                call_stats.current.get().failed(problem)
                self._forget_failed(key, result)
                if attempt + 1 == TRIES:
                    raise
                call_stats.current.get().retries += 1
            except RequestRejected:
                self._forget_failed(key, result)
                raise
            else:
                self._kept.append(key)
                call_stats.current.get().tokens += response.usage.completion_tokens
                return replace(response, retries=attempt) if attempt else response
        raise AssertionError  # the last try returns or raises

    async def close(self) -> None:
        """Stop waiting; jobs go on at the vendor."""
        tasks = [*self._tasks, *([self._watcher] if self._watcher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the cache writes the last replies
        if self._alarm is not None:
            self._alarm.cancel()
        self._forget_kept()
        self._journal.close()

    def _read(self, result: BatchResult, request: Request) -> Response:
        if result.problem is not None:
            raise result.problem.with_traceback(None)  # one problem may be raised in thousands of samples
        return self._service.read(result.body, request)

    def _forget_failed(self, key: bytes, result: BatchResult) -> None:
        """Forget a line whose reply cannot be used. Those with a problem are forgotten together, earlier."""
        if result.problem is None:
            self._journal.forget([key])

    def _forget_kept(self) -> None:
        kept, self._kept = self._kept, []
        if kept:
            self._journal.forget(kept)

    # --- Collect ---------------------------------------------------------------------------------------

    async def _result(self, key: bytes, request: Request) -> BatchResult:
        if self._stop is not None:
            if self._stop.is_set():
                raise asyncio.CancelledError
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._cancel_on(self._stop))
        future: asyncio.Future[BatchResult] = asyncio.get_running_loop().create_future()
        self._waiting[key] = _Waiting(request, future)
        try:
            if (name := self._journal.job_of(key)) is None:
                self._collect({key: request})
            else:
                self._known.add(name)
                self._flush_when_quiet()
            return await future
        finally:
            self._waiting.pop(key, None)
            self._collected.pop(key, None)

    def _collect(self, requests: dict[bytes, Request]) -> None:
        self._collected.update(requests)
        if len(self._collected) >= self._max_lines:
            self._flush()
        else:
            self._flush_when_quiet()

    def _flush_when_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        self._last_came = loop.time()
        if self._alarm is None:
            self._alarm = loop.call_later(self._quiet_s, self._on_alarm, loop)

    def _on_alarm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        if (due := self._last_came + self._quiet_s) > loop.time():
            self._alarm = loop.call_at(due, self._on_alarm, loop)
        else:
            self._flush()

    def _flush(self) -> None:
        """Submit what is collected, and follow the jobs of the journal that are waited for."""
        for name in self._known - self._following.keys():
            self._follow_soon(name)
        self._known.clear()
        requests, self._collected = self._collected, {}
        if requests:
            self._spawn(self._submit_all(requests), requests)

    async def _cancel_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for task in self._tasks:
            task.cancel()
        for waiting in list(self._waiting.values()):
            waiting.result.cancel()

    # --- Submit ----------------------------------------------------------------------------------------

    async def _submit_all(self, requests: dict[bytes, Request]) -> None:
        refused: list[tuple[bytes, ModelError]] = []
        pending = files(
            requests,
            lambda key, request: self._service.line(key.hex(), request),
            lambda key, problem: refused.append((key, problem)),
            max_lines=self._max_lines,
            max_bytes=self._service.max_bytes,
        )
        while True:
            file = await asyncio.to_thread(next, pending, None)
            for key, problem in refused:
                self._deliver(key, BatchResult(key.hex(), problem=problem))
            refused.clear()
            if file is None:
                return
            await self._submit(file)

    async def _submit(self, file: list[Line]) -> None:
        name = f"evalkit-{uuid.uuid4().hex}"
        self._journal.begin(name, self._model, [line.key for line in file])
        _submitting.add(name)
        try:
            job = await self._submitted(name, file)
            self._journal.submitted(name, job)
        finally:
            _submitting.discard(name)
        self._follow_soon(name)

    async def _submitted(self, name: str, file: list[Line]) -> str:
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
                self._journal.drop(name)
                raise SetupError(f"the batch was refused: {problem}") from None
            except (Overloaded, ServerFailed) as problem:
                failure = problem
                call_stats.current.get().failed(problem)
                in_doubt = in_doubt or not (problem.not_sent or isinstance(problem, Overloaded))
                await asyncio.sleep(max(pause, getattr(problem, "retry_after", None) or 0.0))
        raise SetupError(f"the batch could not be submitted: {failure}. Stopped here: resume the run later")

    # --- Wait ------------------------------------------------------------------------------------------

    def _follow_soon(self, name: str) -> None:
        keys = self._journal.keys(name)
        self._following[name] = task = self._spawn(self._follow(name, keys), keys)
        task.add_done_callback(lambda task: self._followed(name, keys, task))

    def _followed(self, name: str, keys: list[bytes], task: asyncio.Task[None]) -> None:
        """Follow a job again for the requests that began to wait when its results had been read."""
        del self._following[name]
        if not task.cancelled() and any(key in self._waiting for key in keys) and self._journal.job(name):
            self._known.add(name)
            self._flush_when_quiet()

    async def _follow(self, name: str, keys: list[bytes]) -> None:
        """Wait for a job, and hand its replies to the requests that wait for them."""
        job = await self._identified(name)
        if job is None:
            self._again(keys)
            return
        progress = JobProgress(job.lines, since=job.submitted)
        call_stats.current.get().jobs[job.id or ""] = progress
        try:
            state = await self._ended(job, progress)
            if state.refused:
                await self._refused(job, state)
            else:
                await self._patiently(lambda: self._take(job, state))
        except RequestRejected as problem:
            if problem.status != 404:
                raise
            progress.state, progress.ended = "gone", True
            lost = ServerFailed(f"the batch job {job.id} is no longer known to the server: {problem}")
            self._journal.drop(name)
            self._fail(keys, lost)

    async def _identified(self, name: str) -> Job | None:
        """Return a job with the vendor's id; None if it was never submitted."""
        while (job := self._journal.job(name)) is not None and job.id is None:
            if self._is_being_submitted(job):
                await asyncio.sleep(SHORTEST_PAUSE_S)
                continue
            found = await self._patiently(partial(self._find, name, job.submitted))
            if found is None:
                self._journal.drop(name)
                return None
            self._journal.submitted(name, found)
        return job

    def _is_being_submitted(self, job: Job) -> bool:
        """Return whether this or another process is submitting a job now."""
        if job.owner == this_process():
            return job.name in _submitting
        return is_alive(job.owner, job.submitted)

    async def _find(self, name: str, since: float) -> str | None:
        keys = [key.hex() for key in self._journal.keys(name)]
        return await self._service.find(name, keys, since, self._journal.ids())

    async def _ended(self, job: Job, progress: JobProgress) -> BatchState:
        """Return the state of a job once it has ended."""
        while True:
            state = await self._patiently(lambda: self._service.state(job.id or ""))
            if (state.word, state.done) != (progress.state, progress.done):
                progress.state, progress.done = state.word, state.done
                self._journal.note(job.name, state.word, state.done)
            if state.ended:
                progress.ended = True
                return state
            age = time.time() - job.submitted
            await asyncio.sleep(min(max(SHORTEST_PAUSE_S, age / 10), LONGEST_PAUSE_S))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Return what a call returns, tried again until the server has not answered for ``down_s``."""
        since = time.monotonic()
        while True:
            try:
                return await call()
            except (Overloaded, ServerFailed) as problem:
                call_stats.current.get().failed(problem)
                if time.monotonic() - since > self._down_s:
                    raise SetupError(
                        f"no answer about a batch job for {self._down_s:.0f} s; the last failure: {problem}. "
                        "Stopped here: the job goes on, and when the server is back, resume the run"
                    ) from None
                wait = getattr(problem, "retry_after", None) or 0.0
                await asyncio.sleep(min(max(SHORTEST_PAUSE_S, wait), LONGEST_PAUSE_S))

    async def _refused(self, job: Job, state: BatchState) -> None:
        """Submit a job in smaller parts where the vendor's limit was reached; else raise ``SetupError``."""
        if not state.too_much or job.lines == 1:
            self._journal.drop(job.name)
            raise SetupError(f"the batch job {job.id} was refused: {state.refused}")
        keys = self._journal.keys(job.name)
        self._journal.drop(job.name)
        others = [task for name, task in self._following.items() if name != job.name]
        if others:
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        else:
            self._max_lines = max(1, job.lines // 2)
        self._again(keys)

    # --- Take ------------------------------------------------------------------------------------------

    async def _take(self, job: Job, state: BatchState) -> None:
        """Hand the results of an ended job to the requests that wait for them.

        Of several results of one line, the first reply counts. The journal keeps the lines for which no
        request waits: the vendor has their replies.
        """
        answered: set[bytes] = set()
        failed: dict[bytes, EvalkitError] = {}
        async for result in self._service.results(job.id or ""):
            key = _key_of(result.key)
            if key in answered:
                continue
            if result.problem is not None:
                failed.setdefault(key, result.problem)
            else:
                answered.add(key)
                self._deliver(key, result)
        for key in self._journal.keys(job.name):
            if key not in answered:
                failed.setdefault(key, _missing(job, state))
        failed = {key: problem for key, problem in failed.items() if key not in answered}
        self._journal.forget(failed)
        for key, problem in failed.items():
            self._deliver(key, BatchResult(key.hex(), problem=problem))
        await asyncio.sleep(_IN_CACHE_AFTER_S)
        self._forget_kept()

    def _deliver(self, key: bytes, result: BatchResult) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None and not waiting.result.done():
            waiting.result.set_result(result)

    def _fail(self, keys: Iterable[bytes], problem: EvalkitError) -> None:
        for key in keys:
            self._deliver(key, BatchResult(key.hex(), problem=problem))

    def _again(self, keys: Iterable[bytes]) -> None:
        """Collect waiting requests anew, unless another job has them."""
        requests = {key: self._waiting[key].request for key in keys if key in self._waiting}
        self._collect({key: r for key, r in requests.items() if self._journal.job_of(key) is None})

    def _spawn(self, work: Coroutine[Any, Any, None], keys: Iterable[bytes]) -> asyncio.Task[None]:
        """Run ``work`` in a task of its own; if it fails, so do the requests of ``keys``."""
        task = asyncio.create_task(self._guarded(work, list(keys)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None], keys: list[bytes]) -> None:
        try:
            await work
        except EvalkitError as problem:
            self._fail(keys, problem)
        except Exception as problem:  # noqa: BLE001 - else the requests would wait for ever
            self._fail(keys, SetupError(f"the batch interface of {self._model}: {reason(problem)}"))


def _key_of(text: str) -> bytes:
    """Return the key of a result; empty for a name that is not evalkit's."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _missing(job: Job, state: BatchState) -> EvalkitError:
    if state.cancelled:
        return SetupError(
            f"the batch job {job.id} was cancelled. Stopped here: resume the run to ask for what is missing"
        )
    return ServerFailed(f"the batch job {job.id} ended without a result for this request")
