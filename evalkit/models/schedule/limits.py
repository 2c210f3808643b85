"""When nothing is to be sent: an outage of all endpoints, and rates that a vendor sets."""

from __future__ import annotations

import math
from dataclasses import dataclass


class CircuitBreaker:
    """Whether nothing answers any more: then one request asks now and then, and all others wait.

    So many failures in a row make an outage that none of the requests under way was answered in between;
    where no connection can be made at all, one is enough. The pauses double up to ``LONGEST_S``.
    """

    FEWEST = 8
    FIRST_S, LONGEST_S = 0.5, 8.0

    def __init__(self) -> None:
        self.opens_at = -math.inf
        self._row, self._pause, self._began = 0, 0.0, 0.0

    def answered(self) -> None:
        """Something answers, were it with a refusal."""
        self._row, self._pause, self.opens_at = 0, 0.0, -math.inf

    def failed(self, begun: float, now: float, most: int, *, sure: bool = False) -> None:
        """A request that was sent at ``begun`` failed; ``most`` may be under way at once. ``sure``: nothing
        is there to answer the others."""
        if not self._row:
            self._began = now
        self._row += max(self.FEWEST, most) if sure else 1
        if self._row >= max(self.FEWEST, most) and begun >= self.opens_at:
            self._pause = min(self.LONGEST_S, max(self.FIRST_S, 2 * self._pause))
            self.opens_at = now + self._pause

    def holds(self, now: float, in_flight: int) -> bool:
        """Whether nothing may be sent now."""
        return self._pause > 0 and (now < self.opens_at or in_flight > 0)

    def lasts(self, now: float) -> float:
        """Seconds since its first failure; 0 where there is no outage."""
        return now - self._began if self._pause else 0.0


class TokenBucket:
    """So many units a minute, evenly: a bucket that runs out at this rate and holds a second's worth."""

    BURST_S = 1.0

    def __init__(self, per_minute: float) -> None:
        self._each_s = 60.0 / per_minute
        self._full_at = -math.inf  # when all that was sent would have been sent at the rate

    @property
    def opens_at(self) -> float:
        """When there is room again."""
        return self._full_at - self.BURST_S

    def take(self, units: float, now: float) -> None:
        """So many units are sent now."""
        self._full_at = max(self._full_at, now) + units * self._each_s

    def correct(self, units: float) -> None:
        """They were so many more, or fewer, than was said."""
        self._full_at += units * self._each_s


@dataclass(frozen=True, slots=True)
class RateLimitWindow:
    """What an endpoint says it still takes until a moment, and ``most`` after it.

    ``sent`` is the place of the request whose reply said so. Those under way may not be counted in it yet, so
    no more go than together with them are left.
    """

    units: float
    until: float
    most: float
    sent: int

    def opens_at(self, taken: float, in_flight: int, now: float) -> float:
        """When one more may go, with which so many units would be under way. Each reply tells anew."""
        if now >= self.until:
            return now + 1.0 if in_flight and taken > self.most else -math.inf
        return self.until if taken > self.units else -math.inf
