"""Which waiting request goes to which endpoint next: prefixes together, longest work first, nobody starved.

Everything here is plain bookkeeping without a clock or an event loop: ``models.scheduled.Scheduled`` drives
it for real servers, the benchmarks drive the same code in virtual time.

The order, in words:

1. An endpoint stays with the prefix it is on, longest predicted request first, until no more of it waits.
2. Then comes the prefix of a request that too many others have overtaken, or of one so long that it would
   outlast the rest (longest first, at the end of a run). Where either can wait no more, it goes at once.
3. Else the neighbour with most work: first those that share most of the prefix.

Each prefix has a home among the endpoints (rendezvous hashing), which keeps it unless another endpoint has
less than half as much waiting. Endpoints take work when they have room, so each gets what it delivers, and
at the end of a run a slow one leaves the rest to those that would be done with it sooner, and all along the
longest to faster ones.
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

# How many longest queues may overtake a request before its prefix comes next, and before it goes at once.
SOFT, HARD = 2, 4
# A long request's prefix comes next when the rest takes less than so many times as long; when it goes now.
SOON, LATE = 2.0, 1.0
# An endpoint that takes so many times as long for a token is slow.
SLOWER = 1.2
# A reply that may well come is so many times as long as the typical one.
SPREAD = 4.0
# What reading a prompt costs beside writing a reply: characters that weigh as much as one output token.
_CHARS_PER_TOKEN_OF_WORK = 32


class Scheduler:
    """One queue for one model on one or several endpoints.

    ``submit`` a request, ask ``next`` until it returns None, and report each sent ticket to ``ended``; a
    ticket that is no longer wanted goes through ``cancel``. At most ``each`` requests are under way at an
    endpoint and ``together`` at all; with ``grows`` above ``each`` an endpoint may earn itself more. An
    endpoint that is known to have so many ``slots`` gets that many.
    """

    def __init__(
        self,
        endpoints: Sequence[str] = ("",),
        *,
        each: int = 64,
        grows: int = 0,
        slots: Mapping[str, int] | None = None,
        together: int | None = None,
    ) -> None:
        known = slots or {}
        self.endpoints = [
            Endpoint(name, Concurrency(known.get(name, each), known.get(name, max(each, grows))))
            for name in endpoints
        ]
        self.lengths = OutputLengthPredictor()
        self.outage = CircuitBreaker()
        self._together = together or math.inf
        self._queues = [PrefixQueue() for _ in endpoints]
        # Beginnings of prompts that were seen, with the first request that had it while that waits.
        self._begun: dict[int, QueuedRequest | None] = {}
        self._last: list[tuple[int, int]] = [(i, -1) for i in range(len(endpoints))]  # queue and group
        self._by_age: deque[QueuedRequest] = deque()
        self._by_length: list[tuple[int, QueuedRequest]] = []
        self._tokens = self._submitted = self._left = self._most = self._sent = self.in_flight = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._submitted - self._left

    def submit(self, request: Request, known: int | None = None) -> QueuedRequest:
        """Put a request into the queue; ``known`` are the tokens of an earlier reply to it."""
        queued = QueuedRequest(self._submitted, request, prefix_chain(request))
        queued.group = self._group(queued)
        queued.length = self.lengths.predict(queued, known)
        queued.work = queued.length + characters(request) // _CHARS_PER_TOKEN_OF_WORK
        self._place(queued)
        if (first := self._begun.get(queued.group)) is not None:  # the prefix is one only now
            self._begun[queued.group] = None
            self._queues[first.home].remove(first)
            first.group = queued.group
            self._place(first)
        if len(self._by_age) > 64 + 2 * len(self):  # what is gone would keep its request in memory
            self._by_age = deque(old for old in self._by_age if old.state == "waiting")
        self._by_age.append(queued)
        if len(self._by_length) > 64 + 2 * len(self):
            self._by_length = [entry for entry in self._by_length if entry[1].state == "waiting"]
            heapq.heapify(self._by_length)
        heapq.heappush(self._by_length, (-queued.length, queued))
        self._tokens += queued.length
        self._submitted += 1
        self._most = max(self._most, len(self))
        return queued

    def next(self, now: float) -> QueuedRequest | None:
        """Return the request to send now, to its ``endpoint``; None where nothing waits or none has room."""
        if not len(self) or self.in_flight >= self._together or self.outage.holds(now, self.in_flight):
            return None
        endpoint = self._free_endpoint(now)
        if endpoint is None:
            return None
        queued = self._pick(endpoint)
        self._leave_queue(queued)
        self._sent += 1
        queued.state, queued.endpoint, queued.sent, queued.begun = "sent", endpoint, self._sent, now
        self._last[endpoint] = (queued.home, queued.group)
        self.endpoints[endpoint].on_send(queued, now)
        self.in_flight += 1
        return queued

    def opens_at(self, now: float) -> float | None:
        """When the next endpoint that asked for time takes requests again, if any waits."""
        later = [endpoint.open_from(now) for endpoint in self.endpoints] + [self.outage.opens_at]
        later = [moment for moment in later if moment > now]
        return min(later) if later and len(self) else None

    def closed_for(self, now: float) -> float:
        """Seconds for which all endpoints asked to be left alone; below 0 where one of them did not."""
        return min(endpoint.opens_at for endpoint in self.endpoints) - now

    def ended(
        self,
        queued: QueuedRequest,
        now: float,
        *,
        tokens: int | None = None,
        prompt: int = 0,
        problem: ModelError | None = None,
    ) -> None:
        """A sent request has ended: in a reply of ``tokens`` to a ``prompt`` of so many (0 where nobody
        counted), with a problem, or with neither: given up."""
        endpoint = self.endpoints[queued.endpoint]
        full = (
            len(self) > 0 and 2 * endpoint.in_flight > endpoint.concurrency.limit
        )  # several may end together
        queued.state = "gone"
        endpoint.on_finish(queued, prompt, tokens)
        self.in_flight -= 1
        if problem is not None:
            endpoint.failed(queued, problem, now, self._sent)
            self._note_outage(problem, queued.begun, now)
        elif tokens is not None:
            self.outage.answered()
            endpoint.succeeded()
            endpoint.clock(now - queued.begun, tokens)
            endpoint.concurrency.ended(queued.begun, now, tokens, full)
            self.lengths.observe(queued, tokens)

    def cancel(self, queued: QueuedRequest, now: float) -> None:
        """Forget a request, wherever it is. Harmless where it has ended."""
        if queued.state == "waiting":
            self._queues[queued.home].remove(queued)
            self._leave_queue(queued)
            queued.state = "gone"
        elif queued.state == "sent":
            self.ended(queued, now)

    def _note_outage(self, problem: ModelError, begun: float, now: float) -> None:
        """One endpoint that cannot be reached is no outage where there are others."""
        if not isinstance(problem, ServerFailed | Overloaded):
            self.outage.answered()
            return
        sure = len(self.endpoints) == 1 and problem.not_sent
        self.outage.failed(
            begun, now, sum(endpoint.concurrency.limit for endpoint in self.endpoints), sure=sure
        )

    def _group(self, queued: QueuedRequest) -> int:
        """The longest beginning that an earlier request had, too: what is worth keeping in one place."""
        if len(self._begun) > REMEMBERED:
            self._begun = dict(itertools.islice(self._begun.items(), REMEMBERED // 2, None))
        group = 0
        for piece in queued.chain[:-1]:
            if piece in self._begun:
                group = piece
            else:
                self._begun[piece] = queued if len(self.endpoints) > 1 else None
        return group

    def _place(self, queued: QueuedRequest) -> None:
        """Into the queue of its prefix's home."""
        if len(self.endpoints) > 1:
            name = b"%d" % queued.group
            queued.home = max(
                range(len(self.endpoints)), key=lambda i: zlib.crc32(name, self.endpoints[i].namespace)
            )
        self._queues[queued.home].push(queued)

    def _free_endpoint(self, now: float) -> int | None:
        """The endpoint with most room, in parts of its own limit. Where none is well, all take part but those
        that asked for time."""
        if len(self.endpoints) == 1:
            return 0 if self.endpoints[0].free() > 0 and now >= self.endpoints[0].open_from(now) else None
        healthy = [endpoint for endpoint in self.endpoints if endpoint.is_healthy(now)]
        healthy = healthy or [endpoint for endpoint in self.endpoints if now >= endpoint.open_from(now)]
        best, most = None, 0.0
        for endpoint in healthy:
            share = endpoint.free() / endpoint.concurrency.limit
            if share > most and not self._sooner_elsewhere(endpoint, healthy):
                best, most = self.endpoints.index(endpoint), share
        return best

    def _sooner_elsewhere(self, endpoint: Endpoint, healthy: Sequence[Endpoint]) -> bool:
        """Whether another endpoint would end a longish request sooner, even after all else that waits: at the
        end of a run a slow endpoint had better stay idle."""
        longish = SPREAD * self._tokens / len(self)
        return any(
            other.seconds_per_token * (self._tokens / other.concurrency.limit + longish)
            < endpoint.seconds_per_token * longish
            for other in healthy
            if 0 < other.seconds_per_token < endpoint.seconds_per_token
        )

    def _slow(self, endpoint: Endpoint) -> bool:
        """Whether another endpoint is clearly faster: what takes longest had better run there."""
        return any(
            0 < SLOWER * other.seconds_per_token < endpoint.seconds_per_token for other in self.endpoints
        )

    def _pick(self, endpoint: int) -> QueuedRequest:
        """Take the next request for an endpoint out of its queue."""
        at, group = self._last[endpoint]
        goes_on = self._queues[at].groups[group] > 0
        chosen = self._overtaken(HARD if goes_on else SOFT)
        if chosen is None and not self._slow(self.endpoints[endpoint]):
            chosen = self._outlasting(LATE if goes_on else SOON)
        if chosen is None:
            return self._queues[self._source(endpoint)].pop(endpoint)
        queue = self._queues[chosen.home]
        queue.stay(endpoint, chosen)
        queue.remove(chosen)
        return chosen

    def _overtaken(self, times: int) -> QueuedRequest | None:
        """The oldest request, where younger ones, so many times the longest queue, went before it."""
        while self._by_age[0].state != "waiting":
            self._by_age.popleft()
        oldest = self._by_age[0]
        return oldest if self._left - oldest.number >= times * self._most else None

    def _outlasting(self, margin: float) -> QueuedRequest | None:
        """The longest request, where it stands out and takes longer than all the rest in all the slots."""
        while self._by_length[0][1].state != "waiting":
            heapq.heappop(self._by_length)
        longest = self._by_length[0][1]
        if longest.length * len(self) <= 1.5 * self._tokens:
            return None
        slots = min(self._together, sum([endpoint.concurrency.limit for endpoint in self.endpoints]))
        alone = longest.length * max([endpoint.idle_speedup for endpoint in self.endpoints])
        return longest if margin * alone * slots >= self._tokens else None

    def _source(self, endpoint: int) -> int:
        """Whose queue an endpoint takes from: where it is; its own; one with more than twice as much."""
        queues = self._queues
        at, group = self._last[endpoint]
        if queues[at].groups[group]:
            return at
        fullest = max(range(len(queues)), key=lambda i: queues[i].work)
        return (
            endpoint
            if len(queues[endpoint]) and 2 * queues[endpoint].work >= queues[fullest].work
            else fullest
        )

    def _leave_queue(self, queued: QueuedRequest) -> None:
        if len(self.endpoints) > 1:
            for piece in queued.chain[:-1]:
                if self._begun.get(piece) is queued:
                    self._begun[piece] = None
        self._tokens -= queued.length
        self._left += 1
