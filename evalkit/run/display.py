"""What a run is doing, in two short lines: rates, calls under way, cache hits, retries, errors."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable

from evalkit.models.middleware.call_stats import CallStats, current
from evalkit.types import Bar

REFRESH_S = 0.25
# Rates are those of the last so many seconds.
RECENT_S = 15.0


class RunDisplay:
    """A run's bar: passes on how many samples ended, and notes beside it what the model is doing.

    The figures of all calls that are made inside of ``async with`` are counted where they arise
    (``CallStats``) and only read here, four times a second.
    """

    def __init__(
        self, bar: Bar, clock: Callable[[], float] = time.monotonic, traffic: CallStats | None = None
    ) -> None:
        self.traffic = traffic or CallStats()
        self._bar, self._clock = bar, clock
        self._done, self._samples = 0, ""
        self._begin = (clock(), 0, 0)
        self._marks = deque([self._begin])

    def advance(self, n: int = 1) -> None:
        """So many samples more are stored."""
        self._done += n
        self._bar.advance(n)

    def note(self, text: str) -> None:
        """Which samples did not end well, in words."""
        self._samples = text

    async def __aenter__(self) -> RunDisplay:
        """Count from here on, and keep the bar's note up to date."""
        self._before = current.set(self.traffic)
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Leave the figures of the whole."""
        self._watching.cancel()
        current.reset(self._before)
        self._bar.note(self._text(*self._begin))

    async def _watch(self) -> None:
        while True:
            self.refresh()
            await asyncio.sleep(REFRESH_S)

    def refresh(self) -> None:
        """Note the figures of the last seconds."""
        now = self._clock()
        while len(self._marks) > 1 and self._marks[1][0] <= now - RECENT_S:
            self._marks.popleft()
        self._bar.note(self._text(*self._marks[0]))
        self._marks.append((now, self._done, self.traffic.tokens))

    def _text(self, since: float, done: int, tokens: int) -> str:
        traffic = self.traffic
        seconds = self._clock() - since
        parts = [f"{traffic.in_flight} in flight"]
        if seconds:
            rates = (self._done - done) / seconds, (traffic.tokens - tokens) / seconds
            parts[:0] = [f"{_short(rates[0])} samples/s", f"{_short(rates[1])} tokens/s"]
        parts += [f"{traffic.hits:,} from the cache"] if traffic.hits else []
        parts += [f"{traffic.retries:,} retries"] if traffic.retries else []
        troubles = [f"failed calls: {listed(traffic.failures)}"] if traffic.failures else []
        troubles += [f"retries used up: {traffic.given_up:,} calls given up"] if traffic.given_up else []
        troubles += [f"samples: {self._samples}"] if self._samples else []
        return "\n".join(" · ".join(line) for line in (parts, troubles) if line)


def listed(counts: Counter[str]) -> str:
    """``12 × 429, 3 × Unreachable``: most first."""
    return ", ".join(f"{n:,} × {kind}" for kind, n in counts.most_common())


def _short(rate: float) -> str:
    """A rate in at most four digits: 0.25, 8.1, 312, 4.1k."""
    if rate >= 1_000:
        return f"{rate / 1_000:.1f}k"
    return f"{rate:.2f}" if rate < 1 else f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"
