"""The sender of ``?batch=true``: collects requests, submits them as batch jobs, and waits for the replies.

1. *Collect.* Requests are collected until none has come for ``wait_s`` seconds: by then all samples of the
   window wait for a reply. Second turns and judge calls therefore go in rounds.
2. *Submit.* The collected requests are cut into files (``files.py``), each of which is a job (``jobs.py``).
3. *Wait.* A request that the journal finds in a job waits for that job, also if an earlier run that was
   killed, or another process, has submitted it.
4. *Take.* Replies are matched by key. Lines that are missing, have expired or failed at the vendor are asked
   again, ``TRIES`` times in all.

Rates, slots and the retry budget do not apply: a vendor gives batches limits of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from evalkit.errors import EvalkitError, ModelError, Overloaded, RequestRejected, ServerFailed, SetupError
from evalkit.models.batch.files import files
from evalkit.models.batch.jobs import DOWN_S, PAUSES_S, Jobs
from evalkit.models.batch.journal import Job, Journal
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.call_stats import JobProgress
from evalkit.protocols import BatchResult, BatchService, BatchState
from evalkit.types import Request, Response
from evalkit.util.boundary import reason

# The samples in progress of a run with batches: large enough for files that are worth a wait, and some
# hundred megabytes of suspended samples at most.
WINDOW = 20_000
TRIES = 4
# Replies are in the cache at the end of the turn of the event loop in which they arrive.
_IN_CACHE_AFTER_S = 1.0


class _Waiting(NamedTuple):
    request: Request
    result: asyncio.Future[BatchResult | Response]  # a response is of the cache


class Batched:
    """Sends requests through a batch interface. ``key`` names a request in the journal: 32 bytes.

    ``cached`` returns the cached response of a key: another process may have taken it from a job for which
    this one was about to wait. ``model`` is the model's spec, for the journal. Once ``stop`` is set, the
    waiting requests are cancelled; their jobs go on at the vendor. At a limit of cost or tokens, submitted
    jobs are waited for.
    """

    def __init__(
        self,
        service: BatchService,
        journal: Journal,
        key: Callable[[Request], bytes],
        *,
        model: str = "",
        cached: Callable[[bytes], Response | None] = lambda key: None,
        stop: asyncio.Event | None = None,
        down_s: float | None = None,
    ) -> None:
        self._service, self._journal, self._key, self._cached = service, journal, key, cached
        self._jobs = Jobs(service, journal, model, down_s or DOWN_S)
        self._stop, self._quiet_s, self._max_lines = stop, service.wait_s, service.max_lines
        self._waiting: dict[bytes, _Waiting] = {}
        self._collected: dict[bytes, Request] = {}  # not yet in a job
        self._known: set[bytes] = set()  # in a job of the journal that is not yet followed
        self._following: dict[str, asyncio.Task[None]] = {}
        self._held: set[str] = set()  # refused jobs that wait for another one to end
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
            if isinstance(result, Response):
                return result
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

    async def _result(self, key: bytes, request: Request) -> BatchResult | Response:
        if self._stop is not None:
            if self._stop.is_set():
                raise asyncio.CancelledError
            if self._watcher is None:
                self._watcher = asyncio.create_task(self._cancel_on(self._stop))
        future: asyncio.Future[BatchResult | Response] = asyncio.get_running_loop().create_future()
        self._waiting[key] = _Waiting(request, future)
        try:
            self._queue(key, request)
            return await future
        finally:
            self._waiting.pop(key, None)
            self._collected.pop(key, None)

    def _queue(self, key: bytes, request: Request) -> None:
        """Let a request wait for the job that has it, else for the next one."""
        if self._journal.job_of(key) is not None:
            self._known.add(key)
        else:
            self._collected[key] = request
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
        jobs = {key: self._journal.job_of(key) for key in self._known if self._still_waiting(key)}
        self._known = {key for key, name in jobs.items() if name in self._following}
        if self._known:  # the results may have been read before the request came: look again
            self._flush_when_quiet()
        for name in {name for name in jobs.values() if name} - self._following.keys():
            self._follow_soon(name)
        self._again(key for key, name in jobs.items() if name is None)
        requests, self._collected = self._collected, {}
        if requests:
            self._spawn(self._submit_all(requests), requests)

    async def _cancel_on(self, stop: asyncio.Event) -> None:
        """Cancel the requests once ``stop`` is set; at a limit of cost or tokens only those in no job yet."""
        await stop.wait()
        paid = self._following if call_stats.current.get().spending.reached else {}
        kept = {key for name in paid for key in self._journal.keys(name)}
        for task in self._tasks.difference(paid.values()):
            task.cancel()
        for key, waiting in list(self._waiting.items()):
            if key not in kept:
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
            name, keys = await self._jobs.submit(file)
            if keys:
                self._follow_soon(name)
            self._again(line.key for line in file if line.key not in keys)

    # --- Wait ------------------------------------------------------------------------------------------

    def _follow_soon(self, name: str) -> None:
        if name in self._following:  # found in the journal while it was submitted
            return
        keys = self._journal.keys(name)
        self._following[name] = task = self._spawn(self._follow(name, keys), keys)
        task.add_done_callback(lambda task: self._followed(name))

    def _followed(self, name: str) -> None:
        del self._following[name]
        self._held.discard(name)

    async def _follow(self, name: str, keys: list[bytes]) -> None:
        """Wait for a job, and hand its replies to the requests that wait for them."""
        job = await self._jobs.identified(name)
        if job is None:
            self._again(keys)
            return
        progress = JobProgress(job.lines, since=job.submitted)
        call_stats.current.get().jobs[job.id or ""] = progress
        try:
            state = await self._jobs.ended(job, progress)
            if state.refused:
                await self._refused(job, state, keys)
            else:
                await self._jobs.patiently(partial(self._take, job, state, keys))
        except RequestRejected as problem:
            if problem.status != 404:
                raise
            progress.state, progress.ended = "unknown", True
            raise SetupError(
                f"the batch job {job.id}, or its results, are not known to the server: {problem}. Is the key "
                "that of another account or project? Then resume the run with the right one. If the job was "
                f"deleted, `evalkit batches forget {job.id}` lets the run ask, and pay for, its lines again"
            ) from None

    async def _refused(self, job: Job, state: BatchState, keys: list[bytes]) -> None:
        """Submit a job in smaller parts where the vendor's limit was reached; else raise ``SetupError``."""
        self._journal.drop(job.name)
        if not state.too_much or job.lines == 1:
            raise SetupError(f"the batch job {job.id} was refused: {state.refused}")
        self._held.add(job.name)
        others = [task for name, task in self._following.items() if name not in self._held]
        if others:
            await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        else:
            self._max_lines = max(1, job.lines // 2)
        self._again(keys)

    # --- Take ------------------------------------------------------------------------------------------

    async def _take(self, job: Job, state: BatchState, keys: list[bytes]) -> None:
        """Hand the results of an ended job to the requests that wait for them.

        Of several results of one line, the first reply counts. The journal keeps the lines for which no
        request waits: the vendor has their replies. Results that the vendor counts and does not send are
        downloaded again, before their lines are asked, and paid for, again.
        """
        answered: set[bytes] = set()
        problems: dict[bytes, EvalkitError] = {}
        for pause in (*PAUSES_S[:3], None):
            seen = set()
            async for result in self._service.results(job.id or ""):
                key = _key_of(result.key)
                seen.add(result.key)
                if result.problem is not None:
                    problems.setdefault(key, result.problem)
                elif key not in answered:
                    answered.add(key)
                    self._deliver(key, result)
            if pause is None or len(seen) >= state.done:
                break
            call_stats.current.get().failures["incomplete results of a batch"] += 1
            await asyncio.sleep(pause)
        left = [key for key in keys if key not in answered]
        failed = [key for key in left if self._journal.job_of(key) in (None, job.name)]
        self._journal.forget(failed)
        for key in failed:
            self._deliver(key, BatchResult(key.hex(), problem=problems.get(key) or _missing(job, state)))
        self._again(set(left).difference(failed))  # another process has asked them again
        await asyncio.sleep(_IN_CACHE_AFTER_S)
        self._forget_kept()

    def _deliver(self, key: bytes, result: BatchResult | Response) -> None:
        if waiting := self._still_waiting(key):
            waiting.result.set_result(result)

    def _still_waiting(self, key: bytes) -> _Waiting | None:
        waiting = self._waiting.get(key)
        return None if waiting is None or waiting.result.done() else waiting

    def _fail(self, keys: Iterable[bytes], problem: EvalkitError) -> None:
        for key in keys:
            self._deliver(key, BatchResult(key.hex(), problem=problem))

    def _again(self, keys: Iterable[bytes]) -> None:
        """Collect waiting requests anew; those that another job has wait for that job."""
        for key in keys:
            if not (waiting := self._still_waiting(key)):
                continue
            if self._stop is not None and self._stop.is_set():
                waiting.result.cancel()
            elif self._journal.job_of(key) is None and (response := self._cached(key)):
                self._deliver(key, response)
            else:
                self._queue(key, waiting.request)

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
            self._fail(keys, SetupError(f"the batch interface: {reason(problem)}"))


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
