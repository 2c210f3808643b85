"""Which waiting request goes to which endpoint next: prefixes together, longest work first, nobody starved.

Everything here is plain bookkeeping without a clock or an event loop: ``models.layers.Scheduled`` drives it
for real servers, the benchmarks drive the same code in virtual time.

The order, in words:

1. An endpoint stays with the prefix it is on, longest predicted request first, until no more of it waits.
2. Then comes the prefix of a request that too many others have overtaken, or of one so long that it would
   outlast the rest (longest first, at the end of a run). Where either can wait no more, it goes at once.
3. Else the neighbour with most work: first those that share most of the prefix.

Each prefix has a home among the endpoints (rendezvous hashing), which keeps it unless another endpoint has
less than half as much waiting. Endpoints take work when they have room, so each gets what it delivers, and
at the end of a run a slow one leaves the rest to those that would be done with it sooner.
"""

from __future__ import annotations

import heapq
import itertools
import math
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from evalkit.errors import ModelError, Overloaded, ServerFailed
from evalkit.types import Request, Text

Prior = Callable[[Request], int | None]

MOST_PIECES = 64
# How many longest queues may overtake a request before its prefix comes next, and before it goes at once.
SOFT, HARD = 2, 4
# A long request's prefix comes next when the rest takes less than so many times as long; when it goes now.
SOON, LATE = 2.0, 1.0
# A reply that may well come is so many times as long as the typical one.
SPREAD = 4.0
# What reading a prompt costs beside writing a reply: characters that weigh as much as one output token.
_CHARS_PER_TOKEN_OF_WORK = 32
_REMEMBERED = 50_000


def prefix_chain(request: Request) -> tuple[int, ...]:
    """Hashes of a request's beginnings, shortest first: one after each paragraph, image and message.

    Two requests share as much of their prompts as they share of these. The same in every process.
    """
    chain: list[int] = []
    last = 0
    for piece in _pieces(request):
        last = zlib.crc32(piece, last)
        if len(chain) < MOST_PIECES:
            chain.append(last)
        else:
            chain[-1] = last
    return tuple(chain)


def _pieces(request: Request) -> Iterator[bytes]:
    for message in request.messages:
        yield message.role.encode()
        parts = (Text(message.content),) if isinstance(message.content, str) else message.content
        for part in parts:
            if isinstance(part, Text):
                yield from part.text.encode().split(b"\n\n")
            else:
                yield part.sha256.encode()
    if request.prompt is not None:
        yield from request.prompt.encode().split(b"\n\n")
    if request.continuation is not None:
        yield request.continuation.encode()


def _chars(request: Request) -> int:
    return len(request.prompt or "") + sum(
        len(m.content)
        if isinstance(m.content, str)
        else sum(len(p.text) for p in m.content if isinstance(p, Text))
        for m in request.messages
    )


class Ticket:
    """A request's place in the schedule. ``lane`` is the number of its endpoint once it is sent."""

    __slots__ = (
        "begun", "chain", "group", "home", "lane", "length", "node",
        "number", "request", "sent", "state", "waiter", "work",
    )  # fmt: skip

    def __init__(self, number: int, request: Request, chain: tuple[int, ...], group: int) -> None:
        self.number, self.request, self.chain, self.group = number, request, chain, group
        self.length = self.work = 1
        self.home = self.lane = 0
        self.sent, self.begun = 0, 0.0
        self.state = "waiting"  # then "sent", then "gone"
        self.node: _Node | None = None
        self.waiter: Any = None

    def __lt__(self, other: Ticket) -> bool:
        return self.number < other.number


class _Node:
    """A piece of prefix in the radix tree, with the work that waits below it."""

    __slots__ = ("children", "count", "here", "label", "parent", "ranking", "work")

    def __init__(self, label: tuple[int, ...], parent: _Node | None) -> None:
        self.label, self.parent = label, parent
        self.children: dict[int, _Node] = {}
        self.here: list[tuple[int, Ticket]] = []  # a heap: requests that end here, longest first
        self.ranking: list[tuple[int, int, _Node]] = []  # a heap: children by work, with outdated entries
        self.count = self.work = 0

    def __lt__(self, other: _Node) -> bool:
        return False  # heaps of equal work and key: either may come first

    def child(self, label: tuple[int, ...]) -> _Node:
        made = self.children[label[0]] = _Node(label, self)
        return made

    def cut(self, at: int) -> _Node:
        """Put a node for the first ``at`` pieces above this one."""
        assert self.parent is not None
        upper = self.parent.child(self.label[:at])
        upper.count, upper.work = self.count, self.work
        self.label, self.parent = self.label[at:], upper
        upper.children[self.label[0]] = self
        upper.rank(self)
        upper.parent.rank(upper)  # type: ignore[union-attr]
        return upper

    def rank(self, child: _Node) -> None:
        """Note that a child's work has grown."""
        if len(self.ranking) > 16 + 2 * len(self.children):
            self.ranking = [(-c.work, c.label[0], c) for c in self.children.values()]
            heapq.heapify(self.ranking)
        else:
            heapq.heappush(self.ranking, (-child.work, child.label[0], child))

    def largest(self) -> _Node:
        """The child with most work."""
        while True:
            noted, key, child = self.ranking[0]
            if -noted == child.work and self.children.get(key) is child:
                return child
            if self.children.get(key) is child:
                heapq.heapreplace(self.ranking, (-child.work, key, child))
            else:
                heapq.heappop(self.ranking)


class PrefixQueue:
    """Waiting requests in a radix tree of their prefixes. Each operation is O(depth · log n)."""

    def __init__(self) -> None:
        self._root = _Node((), None)
        self._places: dict[int, _Node] = {}
        self.groups: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._root.count

    @property
    def work(self) -> int:
        """Sum of what waits."""
        return self._root.work

    def push(self, ticket: Ticket) -> None:
        """Add a request."""
        node = ticket.node = self._find(ticket.chain)
        heapq.heappush(node.here, (-ticket.work, ticket))
        self.groups[ticket.group] += 1
        above: _Node | None = node
        while above is not None:
            above.count += 1
            above.work += ticket.work
            if above.parent is not None:
                above.parent.rank(above)
            above = above.parent

    def _find(self, chain: tuple[int, ...]) -> _Node:
        node, at = self._root, 0
        while at < len(chain):
            below = node.children.get(chain[at])
            if below is None:
                return node.child(chain[at:])
            shared = _shared(below.label, chain, at)
            node = below if shared == len(below.label) else below.cut(shared)
            at += shared
        return node

    def remove(self, ticket: Ticket) -> None:
        """Take a certain request out."""
        node = ticket.node
        ticket.node = None
        self.groups[ticket.group] -= 1
        if not self.groups[ticket.group]:
            del self.groups[ticket.group]
        while node is not None:
            node.count -= 1
            node.work -= ticket.work
            if not node.count and node.parent is not None:
                del node.parent.children[node.label[0]]
            node = node.parent

    def pop(self, lane: int) -> Ticket:
        """The next request for an endpoint: as near as can be to the one it took last."""
        node = self._places.get(lane, self._root)
        while not node.count:
            assert node.parent is not None
            node = node.parent
        while True:
            while node.here and node.here[0][1].node is not node:
                heapq.heappop(node.here)
            if node.here:
                break
            node = node.largest()
        ticket = heapq.heappop(node.here)[1]
        self.stay(lane, ticket)
        self.remove(ticket)
        return ticket

    def stay(self, lane: int, ticket: Ticket) -> None:
        """The endpoint goes on from this request's prefix; before ``remove``."""
        assert ticket.node is not None
        self._places[lane] = ticket.node


def _shared(label: tuple[int, ...], chain: tuple[int, ...], at: int) -> int:
    if chain[at : at + len(label)] == label:
        return len(label)
    return next(i for i, piece in enumerate(label) if at + i == len(chain) or piece != chain[at + i])


class Lengths:
    """Predicts output tokens: from a prior run, else the mean seen of this prefix, of this beginning, of
    requests with the same ``max_tokens``; before anything is seen, ``max_tokens``."""

    ENOUGH = 3

    def __init__(self, prior: Prior | None = None) -> None:
        self._prior = prior
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}

    def predict(self, ticket: Ticket) -> int:
        """Output tokens to expect, between 1 and ``max_tokens``."""
        request = ticket.request
        if request.continuation is not None:
            return 1
        known = self._prior(request) if self._prior else None
        if known is None:
            found = (self._seen.get(key, (0, 0)) for key in self._keys(ticket))
            known = next((total // n for n, total in found if n >= self.ENOUGH), request.max_tokens)
        return max(1, min(known, request.max_tokens))

    def observe(self, ticket: Ticket, tokens: int) -> None:
        """Remember how long a reply was."""
        if len(self._seen) > _REMEMBERED:
            self._seen = dict(itertools.islice(self._seen.items(), _REMEMBERED // 2, None))
        for key in self._keys(ticket):
            n, total = self._seen.get(key, (0, 0))
            self._seen[key] = (n + 1, total + tokens)

    @staticmethod
    def _keys(ticket: Ticket) -> tuple[tuple[int, int], ...]:
        most = ticket.request.max_tokens
        return (ticket.group, most), (ticket.chain[1] if len(ticket.chain) > 1 else 0, most), (-1, most)


class Concurrency:
    """How many requests one endpoint gets at once: more while that brings more, fewer when it is too much.

    ``limit`` doubles as long as that pays, then tries a quarter more and a fifth less in turn; a step up that
    brought too little, or down that cost too much, is taken back. What it brings is limit · tokens / seconds,
    where the seconds are those that each reply took: unlike counting replies, that does not depend on
    whether long or short ones came in. An overload takes a quarter away. Never above ``most``; where that
    is ``start``, below it only after an overload.
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
        self.limit = max(self._least, self.limit * 3 // 4)
        self._before, self._factor, self._rest = None, 1.25, self.PATIENCE
        self._restart(now)


class Lane:
    """One endpoint: what it may take, what it has, whether it is well."""

    ILL_AFTER = 3  # failures in a row
    TOO_OFTEN = 0.1  # this part refused for overload: more than chance
    AWAY_S, LONGEST_AWAY_S = 5.0, 60.0

    def __init__(self, name: str, concurrency: Concurrency) -> None:
        self.name, self.concurrency = name, concurrency
        self.salt = zlib.crc32(name.encode())
        self.in_flight = 0
        self.pace = 0.0  # seconds for an output token, as one request sees it; 0 until it is known
        self._tokens = self._seconds = 0.0
        self._refused = self._answered = 0.0  # of the last fifty or so
        self._failures = 0
        self._away_s = 0.0
        self._back_at = -math.inf
        self._learned_at = 0

    def free(self) -> int:
        """Free slots."""
        return self.concurrency.limit - self.in_flight

    def well(self, now: float) -> bool:
        """Whether it gets anything; when its time away is over, one request goes ahead of the others."""
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
        self.pace = self._seconds / self._tokens

    def failed(self, ticket: Ticket, problem: ModelError, now: float, sent: int) -> None:
        """Learn from a failure, once from all that were under way together. ``sent`` counts all requests."""
        if isinstance(problem, Overloaded) or problem.status in (408, 504):
            self._refused, self._answered = 1 + 0.98 * self._refused, 0.98 * self._answered
            often = self._refused > self.TOO_OFTEN * (self._refused + self._answered)
            if often and ticket.sent > self._learned_at:
                self.concurrency.overloaded(now)
                self._learned_at = sent
        elif isinstance(problem, ServerFailed):
            self._failures += self.ILL_AFTER if problem.never_begun else 1
            if (self._failures >= self.ILL_AFTER or self._away_s) and ticket.sent > self._learned_at:
                self._away_s = min(self.LONGEST_AWAY_S, max(self.AWAY_S, 2 * self._away_s))
                self._back_at, self._learned_at = now + self._away_s, sent
        else:  # it refused this request: it is well
            self.succeeded()


class Scheduler:
    """One queue for one model on one or several endpoints.

    ``submit`` a request, ask ``next`` until it returns None, and report each sent ticket to ``ended``; a
    ticket that is no longer wanted goes through ``cancel``. At most ``each`` requests are under way at an
    endpoint and ``together`` at all; with ``grows`` above ``each`` an endpoint may earn itself more.
    """

    def __init__(
        self,
        endpoints: Sequence[str] = ("",),
        *,
        each: int = 64,
        grows: int = 0,
        together: int | None = None,
        prior: Prior | None = None,
    ) -> None:
        self.lanes = [Lane(name, Concurrency(each, max(each, grows))) for name in endpoints]
        self.lengths = Lengths(prior)
        self._together = together or math.inf
        self._queues = [PrefixQueue() for _ in endpoints]
        self._begun: dict[int, None] = {}  # beginnings of prompts that were seen
        self._last: list[tuple[int, int]] = [(i, -1) for i in range(len(endpoints))]  # queue and group
        self._by_age: deque[Ticket] = deque()
        self._by_length: list[tuple[int, Ticket]] = []
        self._tokens = self._submitted = self._left = self._most = self._sent = self.in_flight = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._submitted - self._left

    def submit(self, request: Request) -> Ticket:
        """Put a request into the queue."""
        chain = prefix_chain(request)
        ticket = Ticket(self._submitted, request, chain, self._group(chain))
        ticket.length = self.lengths.predict(ticket)
        ticket.work = ticket.length + _chars(request) // _CHARS_PER_TOKEN_OF_WORK
        ticket.home = self._home(ticket.group)
        self._queues[ticket.home].push(ticket)
        self._by_age.append(ticket)
        if len(self._by_length) > 64 + 2 * len(self):
            self._by_length = [entry for entry in self._by_length if entry[1].state == "waiting"]
            heapq.heapify(self._by_length)
        heapq.heappush(self._by_length, (-ticket.length, ticket))
        self._tokens += ticket.length
        self._submitted += 1
        self._most = max(self._most, len(self))
        return ticket

    def next(self, now: float) -> Ticket | None:
        """The request to send now, to endpoint ``ticket.lane``; None where nothing waits or none has room."""
        if not len(self) or self.in_flight >= self._together:
            return None
        lane = self._free_lane(now)
        if lane is None:
            return None
        ticket = self._pick(lane)
        self._leave_queue(ticket)
        self._sent += 1
        ticket.state, ticket.lane, ticket.sent, ticket.begun = "sent", lane, self._sent, now
        self._last[lane] = (ticket.home, ticket.group)
        self.lanes[lane].in_flight += 1
        self.in_flight += 1
        return ticket

    def ended(
        self, ticket: Ticket, now: float, *, tokens: int | None = None, problem: ModelError | None = None
    ) -> None:
        """A sent request has ended: in a reply of ``tokens``, with a problem, or with neither: given up."""
        lane = self.lanes[ticket.lane]
        full = len(self) > 0 and 2 * lane.in_flight > lane.concurrency.limit  # several may end together
        ticket.state = "gone"
        lane.in_flight -= 1
        self.in_flight -= 1
        if problem is not None:
            lane.failed(ticket, problem, now, self._sent)
        elif tokens is not None:
            lane.succeeded()
            lane.clock(now - ticket.begun, tokens)
            lane.concurrency.ended(ticket.begun, now, tokens, full)
            self.lengths.observe(ticket, tokens)

    def cancel(self, ticket: Ticket, now: float) -> None:
        """Forget a request, wherever it is. Harmless where it has ended."""
        if ticket.state == "waiting":
            self._queues[ticket.home].remove(ticket)
            self._leave_queue(ticket)
            ticket.state = "gone"
        elif ticket.state == "sent":
            self.ended(ticket, now)

    def _group(self, chain: tuple[int, ...]) -> int:
        """The longest beginning that an earlier request had, too: what is worth keeping in one place."""
        if len(self._begun) > _REMEMBERED:
            self._begun = dict(itertools.islice(self._begun.items(), _REMEMBERED // 2, None))
        group = 0
        for piece in chain[:-1]:
            if piece in self._begun:
                group = piece
            else:
                self._begun[piece] = None
        return group

    def _home(self, group: int) -> int:
        if len(self.lanes) == 1:
            return 0
        return max(range(len(self.lanes)), key=lambda i: zlib.crc32(b"%d" % group, self.lanes[i].salt))

    def _free_lane(self, now: float) -> int | None:
        """The endpoint with most room, in parts of its own limit; all take part where none is well."""
        if len(self.lanes) == 1:
            return 0 if self.lanes[0].free() > 0 else None
        well = [lane for lane in self.lanes if lane.well(now)] or self.lanes
        best, most = None, 0.0
        for lane in well:
            share = lane.free() / lane.concurrency.limit
            if share > most and not self._sooner_elsewhere(lane, well):
                best, most = self.lanes.index(lane), share
        return best

    def _sooner_elsewhere(self, lane: Lane, well: Sequence[Lane]) -> bool:
        """Whether another endpoint would end a longish request sooner, even after all else that waits: at the
        end of a run a slow endpoint had better stay idle."""
        longish = SPREAD * self._tokens / len(self)
        return any(
            other.pace * (self._tokens / other.concurrency.limit + longish) < lane.pace * longish
            for other in well
            if 0 < other.pace < lane.pace
        )

    def _pick(self, lane: int) -> Ticket:
        """Take the next request for an endpoint out of its queue."""
        at, group = self._last[lane]
        goes_on = self._queues[at].groups[group] > 0
        chosen = self._overtaken(HARD if goes_on else SOFT) or self._outlasting(LATE if goes_on else SOON)
        if chosen is None:
            return self._queues[self._source(lane)].pop(lane)
        queue = self._queues[chosen.home]
        queue.stay(lane, chosen)
        queue.remove(chosen)
        return chosen

    def _overtaken(self, times: int) -> Ticket | None:
        """The oldest request, where younger ones, so many times the longest queue, went before it."""
        while self._by_age[0].state != "waiting":
            self._by_age.popleft()
        oldest = self._by_age[0]
        return oldest if self._left - oldest.number >= times * self._most else None

    def _outlasting(self, margin: float) -> Ticket | None:
        """The longest request, where it stands out and takes longer than all the rest in all the slots."""
        while self._by_length[0][1].state != "waiting":
            heapq.heappop(self._by_length)
        longest = self._by_length[0][1]
        slots = min(self._together, sum(lane.concurrency.limit for lane in self.lanes))
        stands_out = longest.length * len(self) > 1.5 * self._tokens
        return longest if stands_out and margin * longest.length * slots >= self._tokens else None

    def _source(self, lane: int) -> int:
        """Whose queue an endpoint takes from: where it is; its own; one with more than twice as much."""
        queues = self._queues
        at, group = self._last[lane]
        if queues[at].groups[group]:
            return at
        fullest = max(range(len(queues)), key=lambda i: queues[i].work)
        return lane if len(queues[lane]) and 2 * queues[lane].work >= queues[fullest].work else fullest

    def _leave_queue(self, ticket: Ticket) -> None:
        self._tokens -= ticket.length
        self._left += 1
