"""A simulated model server in virtual time: slots, prefill, a prefix cache, decoding in a batch.

The model is continuous batching as in SGLang and vLLM, reduced to the parts that scheduling can change:

- requests without a free slot wait, first come first served;
- a request with a slot is prefilled first: the tokens that are not in the prefix cache are read at a fixed
  rate, while decoding pauses;
- all running requests then get one token per step; a step takes longer with more requests;
- the prefix cache holds a limited number of tokens besides those of running requests. Pieces are evicted
least
  recently used first; a reply also stays in the cache until it is evicted.

Nothing here is random: each job has the length of its reply.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Speed:
    """The speed of a server: prefill tokens per second, seconds per decoding step and further request."""

    prefill: float = 20_000.0
    step_s: float = 0.008
    step_each_s: float = 0.00011


@dataclass
class Job:
    """A request: its prompt as named pieces with numbers of tokens, and the length of its reply."""

    pieces: Sequence[tuple[Any, int]]
    output: int
    tag: Any = None
    cached: int = field(default=0, init=False)

    @property
    def prompt(self) -> int:
        """The number of tokens of the prompt."""
        return sum(tokens for _, tokens in self.pieces)


class PrefixCache:
    """A cache of prompt pieces: the least recently used go first, and never before the pieces after them."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.used = capacity, 0
        self._held: OrderedDict[tuple[Any, ...], int] = OrderedDict()

    def take(self, job: Job) -> int:
        """Return the number of the prompt's first tokens that are in the cache."""
        found, path = 0, ()
        for name, tokens in job.pieces:
            path = (*path, name)
            if path not in self._held:
                break
            found += tokens
        return found

    def keep(self, job: Job, output: int = 0) -> None:
        """Add a prompt and the reply after it; evict other pieces."""
        path: tuple[Any, ...] = ()
        paths = []
        for name, tokens in (*job.pieces, *([("reply", output)] if output else [])):
            path = (*path, name)
            paths.append((path, tokens))
        for path, tokens in reversed(paths):
            self.used += tokens - self._held.pop(path, 0)
            self._held[path] = tokens
        while self.used > self.capacity:
            _, tokens = self._held.popitem(last=False)
            self.used -= tokens


class Server:
    """A server. ``when`` is the time of its next event; ``advance`` moves the server to that time."""

    def __init__(self, *, slots: int = 64, cache: int = 24_000, speed: Speed | None = None) -> None:
        self.slots, self.speed, self.cache = slots, speed or Speed(), PrefixCache(cache)
        self.now = 0.0
        self.prompt_tokens = self.cached_tokens = 0
        self._queue: deque[Job] = deque()
        self._running: list[tuple[float, int, Job]] = []  # a heap by the step at which the reply ends
        self._steps = 0.0
        self._prefilling: tuple[float, Job] | None = None
        self._count = 0

    @property
    def running(self) -> int:
        """The number of requests with a slot."""
        return len(self._running) + (self._prefilling is not None)

    @property
    def waiting(self) -> int:
        """The number of requests that wait for a slot."""
        return len(self._queue)

    def submit(self, job: Job) -> None:
        """Accept a request at the present time."""
        self._queue.append(job)
        self._admit()

    def when(self) -> float:
        """Return the time of the next event; infinity for an idle server."""
        if self._prefilling is not None:
            return self._prefilling[0]
        if self._running:
            return self.now + max(0.0, self._running[0][0] - self._steps) * self._step_s()
        return math.inf

    def advance(self, to: float) -> list[Job]:
        """Move to a time no later than ``when()`` and return the jobs that end then."""
        if self._prefilling is None and self._running:
            self._steps += (to - self.now) / self._step_s()
        self.now = to
        ended: list[Job] = []
        if self._prefilling is not None and to >= self._prefilling[0]:
            job = self._prefilling[1]
            self.cache.keep(job)
            self._prefilling = None
            self._count += 1
            heapq.heappush(self._running, (self._steps + job.output, self._count, job))
        elif self._prefilling is None:
            while self._running and self._running[0][0] <= self._steps + 1e-6:
                job = heapq.heappop(self._running)[2]
                self.cache.keep(job, job.output)
                ended.append(job)
        self._admit()
        return ended

    def _step_s(self) -> float:
        return self.speed.step_s + self.speed.step_each_s * len(self._running)

    def _admit(self) -> None:
        """Begin to prefill the first waiting request, if a slot is free."""
        if self._prefilling is None and self._queue and len(self._running) < self.slots:
            job = self._queue.popleft()
            job.cached = self.cache.take(job)
            self.prompt_tokens += job.prompt
            self.cached_tokens += job.cached
            self._prefilling = (self.now + (job.prompt - job.cached) / self.speed.prefill, job)
