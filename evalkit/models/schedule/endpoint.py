"""One endpoint: how many requests it may have at once, and whether it is well."""

from __future__ import annotations

import math
import zlib

from evalkit.errors import ModelError, Overloaded, ServerFailed
from evalkit.models.schedule.lengths import TokenCostEstimator
from evalkit.models.schedule.limits import RateLimitWindow, TokenBucket
from evalkit.models.schedule.prefix import QueuedRequest
from evalkit.protocols import RateLimits


class Concurrency:
    """How many requests one endpoint gets at once: more while that brings more, fewer when it is too much.

    ``limit`` doubles as long as that pays, then tries a quarter more and a fifth less in turn; a step up that
    brought too little, or down that cost too much, is taken back. What it brings is limit · tokens / seconds,
    where the seconds are those that each reply took: unlike counting replies, that does not depend on
    whether long or short ones came in. An overload takes a quarter away; what a server is known to let wait
    is taken away, and given back when it waits no more. Never above ``most``; where that is ``start``, below
    it only after one of these.
    """

    # Of a step up, output must grow by at least this part; epochs to wait after one that failed.
    GAIN, PATIENCE = 0.15, 8
    FEWEST = 16

    def __init__(self, start: int, most: int) -> None:
        self.limit, self.most = min(start, most), most
        self._least = max(1, self.limit // 8)
        self._adapts = most > start
        self._down = False
        self._factor = 2.0
        self._before: int | None = None  # the limit before the step that is being tried
        self._best = 0.0
        self._rest = 0  # epochs until the next step
        self._cut_from = 0  # the limit before requests were seen to wait at the server
        self._restart(0.0)

    def _restart(self, now: float) -> None:
        self._since, self._replies, self._tokens, self._seconds = now, 0, 0, 0.0

    def ended(self, begun: float, now: float, tokens: int, full: bool) -> None:
        """A reply came; ``full`` if the endpoint was kept full, else the figures say nothing."""
        if not full:
            self._restart(now)
        elif begun >= self._since:
            self._replies += 1
            self._tokens += 1 + tokens
            self._seconds += now - begun
            if self._replies >= max(self.FEWEST, self.limit) and self._seconds:
                self._judge(self.limit * self._tokens / self._seconds)
                self._restart(now)

    def _judge(self, rate: float) -> None:
        """Keep the last step or take it back, and take the next one when it is time."""
        before, self._before = self._before, None
        if before is not None and rate < self._best * (1 + self.GAIN * (self.limit / before - 1)):
            self.limit, self._factor, self._rest = before, 1.25, self.PATIENCE
            return
        self._best = rate
        self._rest -= 1
        if self._rest < 0:
            self._step()

    def _step(self) -> None:
        """Up, and once the doubling is over, down as often: what brings nothing should not wait there."""
        self._down = self._adapts and self._factor < 2 and not self._down
        wanted = self.limit * 4 // 5 if self._down else max(self.limit + 1, int(self.limit * self._factor))
        wanted = min(self.most, max(self._least, wanted))
        if wanted != self.limit:
            self._before, self.limit = self.limit, wanted

    def overloaded(self, now: float) -> None:
        """Too much: a quarter less."""
        self._set(max(self._least, self.limit * 3 // 4), now)

    def saw_waiting(self, running: int, waiting: int, now: float) -> None:
        """The full endpoint runs so many of its requests and lets so many wait, where nothing orders them."""
        if waiting > max(1, self.limit // 8):
            self._cut_from = max(self._cut_from, self.limit)
            self._set(min(self.limit, running + 1 + running // 8), now)
        elif not waiting and self.limit < self._cut_from:
            self._set(min(self._cut_from, self.limit + 1 + self.limit // 4), now)

    def _set(self, limit: int, now: float) -> None:
        """A limit for a reason other than a step up or down, which then wait for a while."""
        self.limit, self._before, self._factor, self._rest = limit, None, 1.25, self.PATIENCE
        self._restart(now)


class Endpoint:
    """One endpoint: what it may take, what it has, whether it is well."""

    FAILURES_BEFORE_QUARANTINE = 3  # failures in a row
    TOO_OFTEN = 0.1  # this part refused for overload: more than chance
    QUARANTINE_S, LONGEST_AWAY_S = 5.0, 60.0
    LONGEST_RESET_S = 60.0  # for a longer pause it has to ask, with a 429

    def __init__(self, name: str, concurrency: Concurrency) -> None:
        self.name, self.concurrency = name, concurrency
        self.namespace = zlib.crc32(name.encode())
        self.in_flight = 0
        self.seconds_per_token = 0.0  # of output, as one request sees it; 0 until it is known
        self.fastest = math.inf  # the same of the request that was disturbed least lately
        self._tokens = self._seconds = 0.0
        self._refused = self._answered = 0.0  # of the last fifty or so
        self._failures = 0
        self._away_s = 0.0
        self._back_at = -math.inf
        self.opens_at = -math.inf  # what it asked for with Retry-After
        self._learned_at = 0
        # What the user says that a vendor allows in a minute.
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None
        self.costs = TokenCostEstimator()
        self._left: dict[str, RateLimitWindow] = {}  # of its own rates, as its latest reply says
        self._under_way = 0.0  # tokens of the requests there, where a rate asks for them

    def free(self) -> int:
        """Free slots."""
        return self.concurrency.limit - self.in_flight

    def open_from(self, now: float) -> float:
        """When it takes requests again, as to what it asked for and to the rates."""
        opens = max([self.opens_at, *(rate.opens_at for rate in (self.requests, self.tokens) if rate)])
        for kind, left in self._left.items():
            taken = self.in_flight + 1 if kind == "requests" else self._under_way + self.costs.latest
            opens = max(opens, left.opens_at(taken, self.in_flight, now))
        return opens

    def update_limits(self, queued: QueuedRequest, rates: RateLimits, now: float) -> None:
        """The reply to a request says what is left of its rates; one to an earlier request is no news."""
        for kind, rate in rates.items():
            before = self._left.get(kind)
            if before is None or queued.sent > before.sent:
                until = now + min(rate.reset_s, self.LONGEST_RESET_S)
                self._left[kind] = RateLimitWindow(rate.units, until, rate.most, queued.sent)

    def on_send(self, queued: QueuedRequest, now: float) -> None:
        """A request goes there."""
        self.in_flight += 1
        if self.requests:
            self.requests.take(1, now)
        if self.tokens or self._left:
            queued.cost = self.costs.of(queued)
            self._under_way += queued.cost
        if self.tokens:
            self.tokens.take(queued.cost, now)

    def on_finish(self, queued: QueuedRequest, prompt: int, tokens: int | None) -> None:
        """A request is no longer there; where it was answered, its tokens are known."""
        self.in_flight -= 1
        self._under_way -= queued.cost
        if queued.cost and tokens is not None:
            cost = self.costs.counted(queued, prompt, tokens)
            if self.tokens:
                self.tokens.correct(cost - queued.cost)

    def is_healthy(self, now: float) -> bool:
        """Whether it gets anything; when its time away is over, one request goes ahead of the others."""
        if now < self.open_from(now):
            return False
        return not self._away_s or (now >= self._back_at and self.in_flight == 0)

    def succeeded(self) -> None:
        """It answers."""
        self._failures, self._away_s = 0, 0.0

    def clock(self, seconds: float, tokens: int) -> None:
        """A reply of ``tokens`` took so long."""
        self._answered = 1 + 0.98 * self._answered
        self._refused *= 0.98
        self._tokens = 0.98 * self._tokens + 1 + tokens
        self._seconds = 0.98 * self._seconds + seconds
        self.seconds_per_token = self._seconds / self._tokens
        self.fastest = min(1.001 * self.fastest, seconds / (1 + tokens))

    @property
    def idle_speedup(self) -> float:
        """Its pace when it need not read prompts meanwhile, in parts of its pace now."""
        return min(1.0, self.fastest / self.seconds_per_token) if self.seconds_per_token else 1.0

    def failed(self, queued: QueuedRequest, problem: ModelError, now: float, sent: int) -> None:
        """Learn from a failure, once from all that were under way together. ``sent`` counts all requests."""
        news = queued.sent > self._learned_at
        if isinstance(problem, Overloaded) and problem.retry_after is not None:
            self.opens_at = max(self.opens_at, now + problem.retry_after)
        if isinstance(problem, Overloaded) or problem.status in (408, 504) or problem.suggests_overload:
            self._refused, self._answered = 1 + 0.98 * self._refused, 0.98 * self._answered
            often = self._refused > self.TOO_OFTEN * (self._refused + self._answered)
            if often and news:
                self.concurrency.overloaded(now)
                self._learned_at = sent
        if isinstance(problem, ServerFailed):
            self._failures += self.FAILURES_BEFORE_QUARANTINE if problem.not_sent else 1
            if (self._failures >= self.FAILURES_BEFORE_QUARANTINE or self._away_s) and news:
                self._away_s = min(self.LONGEST_AWAY_S, max(self.QUARANTINE_S, 2 * self._away_s))
                self._back_at, self._learned_at = now + self._away_s, sent
                self.seconds_per_token = 0.0
        elif not isinstance(problem, Overloaded):  # it refused this request: it is well
            self.succeeded()
