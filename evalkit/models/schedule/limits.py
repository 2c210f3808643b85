"""Reasons to send nothing for a while: a circuit breaker for outages, and the rate limits of a vendor.

``TokenBucket`` keeps the rates that the user sets (``?rpm=``, ``?tpm=``). ``RateLimitWindow`` keeps the rates
that an endpoint reports in the headers of its replies. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


class CircuitBreaker:
    """A circuit breaker for all endpoints together: during an outage, one request at a time tests them.

    The breaker opens after at least ``MIN_FAILURES`` failures in a row, and at least as many as there may be
    requests in flight. One failure is enough where no connection can be made. Each failed test doubles the
    pause before the next one, up to ``LONGEST_S``. Any answer closes the breaker.
    """

    MIN_FAILURES = 8
    FIRST_S, LONGEST_S = 0.5, 8.0

    def __init__(self) -> None:
        self.opens_at = -math.inf
        self._failures, self._pause, self._began = 0, 0.0, 0.0

    def record_answer(self) -> None:
        """Close the breaker: an endpoint answered, possibly with a refusal."""
        self._failures, self._pause, self.opens_at = 0, 0.0, -math.inf

    def record_failure(self, sent_at: float, now: float, limit: int, *, unreachable: bool = False) -> None:
        """Count the failure of a request that was sent at ``sent_at``.

        ``limit`` is the largest number of requests in flight. ``unreachable``: no connection could be made.
        """
        if not self._failures:
            self._began = now
        self._failures += max(self.MIN_FAILURES, limit) if unreachable else 1
        if self._failures >= max(self.MIN_FAILURES, limit) and sent_at >= self.opens_at:
            self._pause = min(self.LONGEST_S, max(self.FIRST_S, 2 * self._pause))
            self.opens_at = now + self._pause

    def blocks(self, now: float, in_flight: int) -> bool:
        """Return whether nothing may be sent now."""
        return self._pause > 0 and (now < self.opens_at or in_flight > 0)

    def duration(self, now: float) -> float:
        """Return the seconds since the first failure of the outage; 0 if there is no outage."""
        return now - self._began if self._pause else 0.0


class TokenBucket:
    """A rate of units (requests or tokens) per minute, spread evenly, with bursts of one second's worth."""

    BURST_S = 1.0

    def __init__(self, per_minute: float) -> None:
        self._seconds_per_unit = 60.0 / per_minute
        self._paid_until = -math.inf  # when the rate has made up for everything sent

    @property
    def opens_at(self) -> float:
        """The time from which a further request may be sent."""
        return self._paid_until - self.BURST_S

    def take(self, units: float, now: float) -> None:
        """Record that ``units`` are sent now."""
        self._paid_until = max(self._paid_until, now) + units * self._seconds_per_unit

    def correct(self, units: float) -> None:
        """Add ``units`` (negative: subtract them) when the true number of an estimated request is known."""
        self._paid_until += units * self._seconds_per_unit


@dataclass(frozen=True, slots=True)
class RateLimitWindow:
    """The rate limit in the headers of a reply: ``units`` are left until ``until``, then there are ``most``.

    ``sent`` is the sequence number of the request with that reply. The server may not have counted the
    requests in flight yet, so that they are counted against ``units`` here.
    """

    units: float
    until: float
    most: float
    sent: int

    def opens_at(self, taken: float, in_flight: int, now: float) -> float:
        """Return when one more request may be sent; ``taken`` units would then be in flight.

        After ``until``, each reply of a request in flight brings a new limit: look again every second.
        """
        if now >= self.until:
            return now + 1.0 if in_flight and taken > self.most else -math.inf
        return self.until if taken > self.units else -math.inf
