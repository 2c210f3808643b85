"""What a model server does with its time: slots, prefill, a prefix cache, decoding in a batch. Virtual time.

Continuous batching as SGLang and vLLM do it, reduced to what scheduling can change:

- requests beyond the slots wait, first come first served;
- a request that gets a slot is prefilled first: the tokens that the prefix cache does not hold, at a fixed
  rate, while decoding stands still;
- all running requests then get a token each step; a step takes longer the more of them there are;
- the prefix cache holds a bounded number of tokens besides those of running requests, evicted piece by piece,
  least recently used first; a reply stays there too, until it is evicted.

Nothing here is random: the lengths of the replies come with the jobs.
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
    """Prefill in tokens per second; a decoding step in seconds, alone and for each further request."""

    prefill: float = 20_000.0
    step_s: float = 0.008
    step_each_s: float = 0.00011


@dataclass
class Job:
    """One request: its prompt as named pieces with their tokens, and how long its reply will be."""

    pieces: Sequence[tuple[Any, int]]
    output: int
    tag: Any = None
    cached: int = field(default=0, init=False)

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return sum(tokens for _, tokens in self.pieces)


class PrefixCache:
    """Least recently used pieces of prompts go first, and never before what follows them."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.used = capacity, 0
        self._held: OrderedDict[tuple[Any, ...], int] = OrderedDict()

    def take(self, job: Job) -> int:
        """How many of the prompt's first tokens are held."""
        found, path = 0, ()
        for name, tokens in job.pieces:
            path = (*path, name)
            if path not in self._held:
                break
            found += tokens
        return found

    def keep(self, job: Job, output: int = 0) -> None:
        """Hold a prompt, and a reply behind it; make room."""
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
    """One server. The caller asks ``when`` something happens next and moves it there with ``advance``."""

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
        """How many have a slot."""
        return len(self._running) + (self._prefilling is not None)

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._queue)

    def submit(self, job: Job) -> None:
        """A request comes in, now."""
        self._queue.append(job)
        self._admit()

    def when(self) -> float:
        """The time of the next thing that happens; infinity where there is nothing to do."""
        if self._prefilling is not None:
            return self._prefilling[0]
        if self._running:
            return self.now + max(0.0, self._running[0][0] - self._steps) * self._step_s()
        return math.inf

    def advance(self, to: float) -> list[Job]:
        """Move to a time no later than ``when()``; the jobs that ended at it."""
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
        """Begin to prefill the first that waits, if there is a slot."""
        if self._prefilling is None and self._queue and len(self._running) < self.slots:
            job = self._queue.popleft()
            job.cached = self.cache.take(job)
            self.prompt_tokens += job.prompt
            self.cached_tokens += job.cached
            self._prefilling = (self.now + (job.prompt - job.cached) / self.speed.prefill, job)
