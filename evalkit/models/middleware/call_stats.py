"""What goes to a run's models and comes back, counted where it happens; the display reads it.

The models of a run, its judge among them, are connected apart and may outlive it, so each call counts for
the run that it is made in: ``current``.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field

from evalkit.errors import ModelError


@dataclass
class CallStats:
    """Counts of one run: calls at the servers now, tokens they wrote, calls answered without them, tries
    after the first, failed tries by kind, those that had no retries left, and what a judge was asked and what
    that cost."""

    in_flight: int = 0
    tokens: int = 0
    hits: int = 0
    retries: int = 0
    given_up: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)

    def failed(self, problem: ModelError) -> None:
        """Count a failure by its HTTP status, or else by what it is called in evalkit."""
        self.failures[str(problem.status or type(problem).__name__)] += 1


_UNREAD = CallStats()  # of calls outside of a run
current: ContextVar[CallStats] = ContextVar("traffic", default=_UNREAD)
