"""The progress of a run in two short lines: rates, calls in flight, cache hits, retries, errors."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

from evalkit.models.middleware.call_stats import CallStats, JobProgress, current
from evalkit.types import Bar

REFRESH_S = 0.25
RECENT_S = 15.0  # the time over which rates are measured


class RunDisplay:
    """A run's progress bar: advances with the stored samples and shows the model's calls beside it.

    The model's layers count the calls that are made inside ``async with`` in ``CallStats``; the display
    reads these counts four times a second.
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
        """Advance the bar by ``n`` stored samples."""
        self._done += n
        self._bar.advance(n)

    def note(self, text: str) -> None:
        """Show which kinds of trouble samples had, and how often."""
        self._samples = text

    async def __aenter__(self) -> RunDisplay:
        """Begin to count calls, and keep the bar's note up to date."""
        self._before = current.set(self.traffic)
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop counting; the note then shows the figures of the whole time."""
        self._watching.cancel()
        current.reset(self._before)
        self._bar.note(self._text(*self._begin))

    async def _watch(self) -> None:
        while True:
            self.refresh()
            await asyncio.sleep(REFRESH_S)

    def refresh(self) -> None:
        """Show the figures of the last ``RECENT_S`` seconds."""
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
        batch = [batch_text(traffic.jobs)] if traffic.jobs else []
        return "\n".join(" · ".join(line) for line in (parts, batch, troubles) if line)


def batch_text(jobs: Mapping[str, JobProgress]) -> str:
    """Return the state of batch jobs: ``batch: 2 jobs, in_progress, 1,200 of 2,048 lines done, 3 min``.

    The time is that of the oldest job that has not ended.
    """
    waiting = [job for job in jobs.values() if not job.ended]
    shown = waiting or list(jobs.values())
    states = listed(Counter(job.state for job in shown)) if len(shown) > 1 else shown[0].state
    lines, done = sum(job.lines for job in shown), sum(job.done for job in shown)
    minutes = (time.time() - min(job.since for job in shown)) / 60
    number = "1 job" if len(shown) == 1 else f"{len(shown)} jobs"
    age = f", {minutes:,.0f} min" if waiting else ""
    return f"batch: {number}, {states}, {done:,} of {lines:,} lines done{age}"


def listed(counts: Counter[str]) -> str:
    """Return counts as text, the highest first: ``12 × 429, 3 × Unreachable``."""
    return ", ".join(f"{n:,} × {kind}" for kind, n in counts.most_common())


def _short(rate: float) -> str:
    """Return a rate in at most four characters: 0.25, 8.1, 312, 4.1k."""
    if rate >= 1_000:
        return f"{rate / 1_000:.1f}k"
    return f"{rate:.2f}" if rate < 1 else f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"
