"""One endpoint: how many requests it may have at once (AIMD-like hill climbing), its rates and its health.

Concurrency: the limit doubles while output grows, then tries a quarter more and a fifth less in turn. A step
up that brought too little, or a step down that cost too much, is taken back. The output of a limit is
estimated as limit · tokens / seconds, with the seconds that each reply took: this estimate does not depend on
how long the replies are. An overload takes a quarter off the limit. What a server reports as waiting in its
own queue is taken off too, and given back once nothing waits there.

Health: an endpoint with ``FAILURES_BEFORE_QUARANTINE`` failures in a row gets nothing for ``QUARANTINE_S``
seconds; then one request tests it. Each failed test doubles the time, up to ``LONGEST_QUARANTINE_S``.
"""

from __future__ import annotations

import math
import zlib

from evalkit.errors import ModelError, Overloaded, ServerFailed
from evalkit.models.schedule.lengths import TokenCostEstimator
from evalkit.models.schedule.limits import RateLimitWindow, TokenBucket
from evalkit.models.schedule.prefix import QueuedRequest
from evalkit.protocols import RateLimits


class Concurrency:
    """The largest number of requests in flight at one endpoint, ``limit``, adapted to what the endpoint does.

    The limit begins at ``start`` and never exceeds ``most``. Where both are equal, the limit changes only
    after an overload or a queue at the server.
    """

    GAIN = 0.15  # the part of a step up by which output must grow
    PATIENCE = 8  # epochs to wait after a failed step
    MIN_REPLIES = 16  # replies of an epoch, at least

    def __init__(self, start: int, most: int) -> None:
        self.limit, self.most = min(start, most), most
        self._least = max(1, self.limit // 8)
        self._adapts = most > start
        self._down = False
        self._factor = 2.0
        self._before: int | None = None  # the limit before the step that is being tried
        self._best = 0.0
        self._pause = 0  # epochs until the next step
        self._cut_from = 0  # the limit before requests were seen to wait at the server
        self._start_epoch(0.0)

    def _start_epoch(self, now: float) -> None:
        self._since, self._replies, self._tokens, self._seconds = now, 0, 0, 0.0

    def observe_reply(self, sent_at: float, now: float, tokens: int, full: bool) -> None:
        """Count a reply of ``tokens``; only replies while the endpoint is ``full`` measure the limit."""
        if not full:
            self._start_epoch(now)
        elif sent_at >= self._since:
            self._replies += 1
            self._tokens += 1 + tokens
            self._seconds += now - sent_at
            if self._replies >= max(self.MIN_REPLIES, self.limit) and self._seconds:
                self._end_epoch(self.limit * self._tokens / self._seconds)
                self._start_epoch(now)

    def _end_epoch(self, rate: float) -> None:
        """Keep the last step or take it back, and take the next one when the pause is over."""
        before, self._before = self._before, None
        if before is not None and rate < self._best * (1 + self.GAIN * (self.limit / before - 1)):
            self.limit, self._factor, self._pause = before, 1.25, self.PATIENCE
            return
        self._best = rate
        self._pause -= 1
        if self._pause < 0:
            self._step()

    def _step(self) -> None:
        """Try a higher limit; once the doubling is over, try a higher and a lower one in turn."""
        self._down = self._adapts and self._factor < 2 and not self._down
        limit = self.limit * 4 // 5 if self._down else max(self.limit + 1, int(self.limit * self._factor))
        limit = min(self.most, max(self._least, limit))
        if limit != self.limit:
            self._before, self.limit = self.limit, limit

    def overloaded(self, now: float) -> None:
        """Lower the limit by a quarter."""
        self._set(max(self._least, self.limit * 3 // 4), now)

    def observe_queue(self, running: int, waiting: int, now: float) -> None:
        """Adapt the limit to the queue at the server: of our requests, ``running`` run, ``waiting`` wait.

        Requests should wait here, where the scheduler orders them, and not at the server.
        """
        if waiting > max(1, self.limit // 8):
            self._cut_from = max(self._cut_from, self.limit)
            self._set(min(self.limit, running + 1 + running // 8), now)
        elif not waiting and self.limit < self._cut_from:
            self._set(min(self._cut_from, self.limit + 1 + self.limit // 4), now)

    def _set(self, limit: int, now: float) -> None:
        """Set a limit for a reason other than a step, and wait for a while with the next step."""
        self.limit, self._before, self._factor, self._pause = limit, None, 1.25, self.PATIENCE
        self._start_epoch(now)


class Endpoint:
    """One endpoint: its limits, its requests in flight, its speed and its health."""

    FAILURES_BEFORE_QUARANTINE = 3  # failures in a row
    OVERLOAD_SHARE = 0.1  # a larger share of requests refused for overload is more than chance
    QUARANTINE_S, LONGEST_QUARANTINE_S = 5.0, 60.0
    LONGEST_RESET_S = 60.0  # a server that needs a longer pause has to answer 429

    def __init__(self, name: str, concurrency: Concurrency) -> None:
        self.name, self.concurrency = name, concurrency
        self.hash_seed = zlib.crc32(name.encode())  # for rendezvous hashing
        self.in_flight = 0
        self.seconds_per_token = 0.0  # of output, in one request; 0 until the first reply
        self.fastest = math.inf  # the lowest recent seconds per token of one request
        self._tokens = self._seconds = 0.0
        self._refused = self._answered = 0.0  # decaying counts of about the last fifty requests
        self._failures = 0  # in a row
        self._quarantine_s = 0.0
        self._quarantine_ends = -math.inf
        self.retry_at = -math.inf  # the end of the latest Retry-After
        self._learned_at = 0  # requests sent before the last reaction to a failure
        # The rates that the user sets.
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None
        self.costs = TokenCostEstimator()
        self._windows: dict[str, RateLimitWindow] = {}  # the rates that the latest reply reports, by kind
        self._tokens_in_flight = 0.0  # estimated, and only where there is a rate of tokens

    def free(self) -> int:
        """Return the number of free slots."""
        return self.concurrency.limit - self.in_flight

    def opens_at(self, now: float) -> float:
        """Return when the endpoint takes requests again, by its Retry-After and by all rates."""
        opens = self.retry_at
        for rate in (self.requests, self.tokens):
            if rate is not None:
                opens = max(opens, rate.opens_at)
        for kind, window in self._windows.items():
            taken = self.in_flight + 1 if kind == "requests" else self._tokens_in_flight + self.costs.latest
            opens = max(opens, window.opens_at(taken, self.in_flight, now))
        return opens

    def update_limits(self, queued: QueuedRequest, rates: RateLimits, now: float) -> None:
        """Record the rate limits that the reply to ``queued`` reports, if no later request's reply did."""
        for kind, rate in rates.items():
            before = self._windows.get(kind)
            if before is None or queued.sent > before.sent:
                until = now + min(rate.reset_s, self.LONGEST_RESET_S)
                self._windows[kind] = RateLimitWindow(rate.units, until, rate.most, queued.sent)

    def on_send(self, queued: QueuedRequest, now: float) -> None:
        """Count a request that is sent now."""
        self.in_flight += 1
        if self.requests:
            self.requests.take(1, now)
        if self.tokens or self._windows:
            queued.cost = self.costs.estimate(queued)
            self._tokens_in_flight += queued.cost
        if self.tokens:
            self.tokens.take(queued.cost, now)

    def on_finish(self, queued: QueuedRequest, prompt: int, tokens: int | None) -> None:
        """Take a request off the count; ``prompt`` and ``tokens`` of its reply are known if there is one."""
        self.in_flight -= 1
        self._tokens_in_flight -= queued.cost
        if queued.cost and tokens is not None:
            cost = self.costs.observe(queued, prompt, tokens)
            if self.tokens:
                self.tokens.correct(cost - queued.cost)

    def is_healthy(self, now: float) -> bool:
        """Return whether the endpoint gets requests; after a quarantine, one request at a time tests it."""
        if now < self.opens_at(now):
            return False
        return not self._quarantine_s or (now >= self._quarantine_ends and self.in_flight == 0)

    def record_answer(self) -> None:
        """Record that the endpoint answers, which ends a quarantine."""
        self._failures, self._quarantine_s = 0, 0.0

    def record_speed(self, seconds: float, tokens: int) -> None:
        """Record that a reply of ``tokens`` took ``seconds``."""
        self._answered = 1 + 0.98 * self._answered
        self._refused *= 0.98
        self._tokens = 0.98 * self._tokens + 1 + tokens
        self._seconds = 0.98 * self._seconds + seconds
        self.seconds_per_token = self._seconds / self._tokens
        self.fastest = min(1.001 * self.fastest, seconds / (1 + tokens))

    @property
    def idle_speedup(self) -> float:
        """The lowest seconds per token as a fraction of the present ones: a request alone runs that fast."""
        return min(1.0, self.fastest / self.seconds_per_token) if self.seconds_per_token else 1.0

    def record_failure(self, queued: QueuedRequest, problem: ModelError, now: float, sent: int) -> None:
        """React to a failure, once for all requests that were in flight together.

        ``sent`` is the number of requests sent so far, to all endpoints.
        """
        is_news = queued.sent > self._learned_at
        if isinstance(problem, Overloaded) and problem.retry_after is not None:
            self.retry_at = max(self.retry_at, now + problem.retry_after)
        if isinstance(problem, Overloaded) or problem.status in (408, 504) or problem.suggests_overload:
            self._refused, self._answered = 1 + 0.98 * self._refused, 0.98 * self._answered
            often = self._refused > self.OVERLOAD_SHARE * (self._refused + self._answered)
            if often and is_news:
                self.concurrency.overloaded(now)
                self._learned_at = sent
        if isinstance(problem, ServerFailed):
            self._failures += self.FAILURES_BEFORE_QUARANTINE if problem.not_sent else 1
            if (self._failures >= self.FAILURES_BEFORE_QUARANTINE or self._quarantine_s) and is_news:
                seconds = max(self.QUARANTINE_S, 2 * self._quarantine_s)
                self._quarantine_s = min(self.LONGEST_QUARANTINE_S, seconds)
                self._quarantine_ends, self._learned_at = now + self._quarantine_s, sent
                self.seconds_per_token = 0.0
        elif not isinstance(problem, Overloaded):  # a server that refuses a request is healthy
            self.record_answer()
