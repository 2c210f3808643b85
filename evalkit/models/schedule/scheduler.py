"""The scheduler: which waiting request goes to which endpoint next.

This file has no clock and no event loop: ``middleware/scheduled.py`` drives the scheduler for real servers,
the benchmarks drive the same code in virtual time.

The next request of an endpoint:

1. *Prefix affinity*: the longest predicted request of the endpoint's present prefix, while any waits.
2. Then the prefix of a request that is *starved* (too many younger ones went first), or of a *straggler*: a
   request so long that it would outlast all others (longest processing time first, for the end of a run).
   When one of them can wait no longer, it is sent at once, also in the middle of a prefix.
3. Otherwise the nearest prefix in the radix tree, and among equally near ones that with most work.

Each prefix has a home endpoint (rendezvous hashing). Another endpoint takes from that home's queue only when
its own has less than half as much work. An endpoint takes work when it has a free slot, so that a fast one
takes more. A slow one takes no stragglers, and nothing at the end of a run that another would finish sooner.
"""

from __future__ import annotations

import heapq
import itertools
import math
import zlib
from collections import deque
from collections.abc import Mapping, Sequence

from evalkit.errors import ModelError, Overloaded, ServerFailed
from evalkit.models.schedule.endpoint import Concurrency, Endpoint
from evalkit.models.schedule.lengths import REMEMBERED, OutputLengthPredictor
from evalkit.models.schedule.limits import CircuitBreaker
from evalkit.models.schedule.prefix import PrefixQueue, QueuedRequest, characters, prefix_chain
from evalkit.types import Request

# A request is starved when the requests that overtook it are this many times the longest queue so far: its
# prefix comes next (soft), or the request is sent at once (hard).
SOFT_STARVATION, HARD_STARVATION = 2, 4
# A straggler's prefix comes next (soft), or the straggler is sent at once (hard), when all other work would
# take less than this many times as long as the straggler.
SOFT_STRAGGLER, HARD_STRAGGLER = 2.0, 1.0
# An endpoint is slow when it takes this many times as long for a token as another one.
SLOW_FACTOR = 1.2
# A long reply, as it may come at any time, is this many times as long as the mean one.
LONG_REPLY_FACTOR = 4.0
# Characters of a prompt whose reading costs as much as one output token.
_CHARS_PER_TOKEN_OF_WORK = 32


class Scheduler:
    """One queue for one model on one or several endpoints.

    ``submit`` a request, call ``next`` until it returns None, and report the end of each sent request to
    ``finish``; ``cancel`` a request that is no longer needed. An endpoint has at most ``per_endpoint``
    requests in flight; its limit may grow to ``max_per_endpoint``. Where ``slots`` has a number for an
    endpoint, its limit is that number. All endpoints together have at most ``max_in_flight``.
    """

    def __init__(
        self,
        endpoints: Sequence[str] = ("",),
        *,
        per_endpoint: int = 64,
        max_per_endpoint: int = 0,
        slots: Mapping[str, int] | None = None,
        max_in_flight: int | None = None,
    ) -> None:
        slots, most = slots or {}, max(per_endpoint, max_per_endpoint)
        limits = [(name, slots.get(name, per_endpoint), slots.get(name, most)) for name in endpoints]
        self.endpoints = [Endpoint(name, Concurrency(start, top)) for name, start, top in limits]
        self.lengths = OutputLengthPredictor()
        self.breaker = CircuitBreaker()
        self._max_in_flight = max_in_flight or math.inf
        self._queues = [PrefixQueue() for _ in endpoints]
        # Prefixes that were seen; while the only request with a prefix waits, that request.
        self._prefixes: dict[int, QueuedRequest | None] = {}
        self._last: list[tuple[int, int]] = [(i, -1) for i in range(len(endpoints))]  # queue and group
        self._by_age: deque[QueuedRequest] = deque()
        self._by_length: list[tuple[int, int, QueuedRequest]] = []  # a heap, longest first
        self._tokens = 0  # expected of all waiting requests
        self._submitted = self._dequeued = self._longest_queue = self._sent = self.in_flight = 0

    def __len__(self) -> int:
        """Return the number of waiting requests."""
        return self._submitted - self._dequeued

    def submit(self, request: Request, earlier: int | None = None) -> QueuedRequest:
        """Put a request into the queue; ``earlier`` are the tokens of an earlier reply to it."""
        queued = QueuedRequest(self._submitted, request, prefix_chain(request))
        queued.group = self._group(queued)
        queued.length = self.lengths.predict(queued, earlier)
        queued.work = queued.length + characters(request) // _CHARS_PER_TOKEN_OF_WORK
        self._enqueue(queued)
        if (first := self._prefixes.get(queued.group)) is not None:  # the second request with this prefix
            self._prefixes[queued.group] = None
            self._queues[first.home].remove(first)
            first.group = queued.group
            self._enqueue(first)
        waiting = len(self)
        if len(self._by_age) > 64 + 2 * waiting:  # entries of ended requests would fill the memory
            self._by_age = deque(old for old in self._by_age if old.state == "waiting")
        self._by_age.append(queued)
        if len(self._by_length) > 64 + 2 * waiting:
            self._by_length = [entry for entry in self._by_length if entry[2].state == "waiting"]
            heapq.heapify(self._by_length)
        heapq.heappush(self._by_length, (-queued.length, queued.number, queued))
        self._tokens += queued.length
        self._submitted += 1
        self._longest_queue = max(self._longest_queue, waiting + 1)
        return queued

    def next(self, now: float) -> QueuedRequest | None:
        """Return the request to send now, to its ``endpoint``; None if nothing waits or no slot is free."""
        if not len(self) or self.in_flight >= self._max_in_flight:
            return None
        if self.breaker.blocks(now, self.in_flight):
            return None
        endpoint = self._free_endpoint(now)
        if endpoint is None:
            return None
        queued = self._pick(endpoint)
        self._leave_queue(queued)
        self._sent += 1
        queued.state, queued.endpoint, queued.sent, queued.sent_at = "sent", endpoint, self._sent, now
        self._last[endpoint] = (queued.home, queued.group)
        self.endpoints[endpoint].on_send(queued, now)
        self.in_flight += 1
        return queued

    def opens_at(self, now: float) -> float | None:
        """Return when the next closed endpoint opens; None if nothing waits or none is closed."""
        times = [endpoint.opens_at(now) for endpoint in self.endpoints] + [self.breaker.opens_at]
        later = [time for time in times if time > now]
        return min(later) if later and len(self) else None

    def closed_for(self, now: float) -> float:
        """Return the seconds until the first Retry-After ends; below 0 if an endpoint has none."""
        return min(endpoint.retry_at for endpoint in self.endpoints) - now

    def finish(
        self,
        queued: QueuedRequest,
        now: float,
        *,
        tokens: int | None = None,
        prompt: int = 0,
        problem: ModelError | None = None,
    ) -> None:
        """Record how a sent request ended: in a reply of ``tokens``, with a problem, or (neither) cancelled.

        ``prompt`` is the number of tokens of the prompt; 0 if the server does not count.
        """
        endpoint = self.endpoints[queued.endpoint]
        # More than half full: several requests may have ended in one turn of the event loop.
        full = len(self) > 0 and 2 * endpoint.in_flight > endpoint.concurrency.limit
        queued.state = "gone"
        endpoint.on_finish(queued, prompt, tokens)
        self.in_flight -= 1
        if problem is not None:
            endpoint.record_failure(queued, problem, now, self._sent)
            self._update_breaker(problem, queued.sent_at, now)
        elif tokens is not None:
            self.breaker.record_answer()
            endpoint.record_answer()
            endpoint.record_speed(now - queued.sent_at, tokens)
            endpoint.concurrency.observe_reply(queued.sent_at, now, tokens, full)
            self.lengths.observe(queued, tokens)

    def cancel(self, queued: QueuedRequest, now: float) -> None:
        """Forget a request that waits or was sent; without effect on one that has ended."""
        if queued.state == "waiting":
            self._queues[queued.home].remove(queued)
            self._leave_queue(queued)
            queued.state = "gone"
        elif queued.state == "sent":
            self.finish(queued, now)

    def _update_breaker(self, problem: ModelError, sent_at: float, now: float) -> None:
        if not isinstance(problem, ServerFailed | Overloaded):
            self.breaker.record_answer()
            return
        # An endpoint that cannot be reached is no outage while there are others.
        unreachable = len(self.endpoints) == 1 and problem.not_sent
        limit = sum(endpoint.concurrency.limit for endpoint in self.endpoints)
        self.breaker.record_failure(sent_at, now, limit, unreachable=unreachable)

    def _group(self, queued: QueuedRequest) -> int:
        """Return the hash of the longest prefix that an earlier request had too; 0 if there is none."""
        if len(self._prefixes) > REMEMBERED:
            self._prefixes = dict(itertools.islice(self._prefixes.items(), REMEMBERED // 2, None))
        group = 0
        for prefix in queued.chain[:-1]:
            if prefix in self._prefixes:
                group = prefix
            else:
                self._prefixes[prefix] = queued if len(self.endpoints) > 1 else None
        return group

    def _enqueue(self, queued: QueuedRequest) -> None:
        """Put a request into the queue of its prefix's home endpoint."""
        if len(self.endpoints) > 1:
            name = b"%d" % queued.group
            queued.home = max(
                range(len(self.endpoints)), key=lambda i: zlib.crc32(name, self.endpoints[i].hash_seed)
            )
        self._queues[queued.home].push(queued)

    def _free_endpoint(self, now: float) -> int | None:
        """Return the endpoint with the largest share of free slots; None if no endpoint takes requests.

        Endpoints in quarantine count only if no healthy one is open.
        """
        if len(self.endpoints) == 1:
            return 0 if self.endpoints[0].free() > 0 and now >= self.endpoints[0].opens_at(now) else None
        healthy = [endpoint for endpoint in self.endpoints if endpoint.is_healthy(now)]
        healthy = healthy or [endpoint for endpoint in self.endpoints if now >= endpoint.opens_at(now)]
        best, most = None, 0.0
        for endpoint in healthy:
            share = endpoint.free() / endpoint.concurrency.limit
            if share > most and not self._another_is_sooner(endpoint, healthy):
                best, most = self.endpoints.index(endpoint), share
        return best

    def _another_is_sooner(self, endpoint: Endpoint, healthy: Sequence[Endpoint]) -> bool:
        """Return whether another endpoint would finish a long reply sooner, even after all waiting work."""
        long_reply = LONG_REPLY_FACTOR * self._tokens / len(self)
        return any(
            other.seconds_per_token * (self._tokens / other.concurrency.limit + long_reply)
            < endpoint.seconds_per_token * long_reply
            for other in healthy
            if 0 < other.seconds_per_token < endpoint.seconds_per_token
        )

    def _is_slow(self, endpoint: Endpoint) -> bool:
        """Return whether another endpoint is clearly faster."""
        return len(self.endpoints) > 1 and any(
            0 < SLOW_FACTOR * other.seconds_per_token < endpoint.seconds_per_token for other in self.endpoints
        )

    def _pick(self, endpoint: int) -> QueuedRequest:
        """Take the next request for an endpoint out of its queue."""
        at, group = self._last[endpoint]
        goes_on = self._queues[at].groups[group] > 0
        chosen = self._starved(HARD_STARVATION if goes_on else SOFT_STARVATION)
        if chosen is None and not self._is_slow(self.endpoints[endpoint]):
            chosen = self._straggler(HARD_STRAGGLER if goes_on else SOFT_STRAGGLER)
        if chosen is None:
            return self._queues[self._source_queue(endpoint)].pop(endpoint)
        queue = self._queues[chosen.home]
        queue.move_to(endpoint, chosen)
        queue.remove(chosen)
        return chosen

    def _starved(self, factor: int) -> QueuedRequest | None:
        """Return the oldest request if ``factor`` times the longest queue was taken out since; else None."""
        while self._by_age[0].state != "waiting":
            self._by_age.popleft()
        oldest = self._by_age[0]
        return oldest if self._dequeued - oldest.number >= factor * self._longest_queue else None

    def _straggler(self, margin: float) -> QueuedRequest | None:
        """Return the longest request if it is far above the mean and would outlast all others; else None."""
        while self._by_length[0][2].state != "waiting":
            heapq.heappop(self._by_length)
        longest = self._by_length[0][2]
        if longest.length * len(self) <= 1.5 * self._tokens:
            return None
        slots = min(self._max_in_flight, sum([endpoint.concurrency.limit for endpoint in self.endpoints]))
        alone = longest.length * max([endpoint.idle_speedup for endpoint in self.endpoints])
        return longest if margin * alone * slots >= self._tokens else None

    def _source_queue(self, endpoint: int) -> int:
        """Return the queue that an endpoint takes from.

        The queue of its present prefix; else its own; else the fullest, if that has over twice the work.
        """
        queues = self._queues
        at, group = self._last[endpoint]
        if queues[at].groups[group]:
            return at
        fullest = max(range(len(queues)), key=lambda i: queues[i].work)
        home_suffices = len(queues[endpoint]) and 2 * queues[endpoint].work >= queues[fullest].work
        return endpoint if home_suffices else fullest

    def _leave_queue(self, queued: QueuedRequest) -> None:
        if len(self.endpoints) > 1:
            for prefix in queued.chain[:-1]:
                if self._prefixes.get(prefix) is queued:
                    self._prefixes[prefix] = None
        self._tokens -= queued.length
        self._dequeued += 1
