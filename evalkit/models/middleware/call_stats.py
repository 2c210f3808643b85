"""Counts of the calls of a run's models, for the run's display.

A model may serve several runs, one after another, and a run may use several models (a judge is one of them).
Each call therefore counts for the run in which it is made, which the context variable ``current`` holds.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field

from evalkit.errors import ModelError
from evalkit.types import Response

MOST_NOTES = 20


@dataclass
class CallStats:
    """Counts of one run."""

    in_flight: int = 0  # calls at the servers now
    tokens: int = 0  # output tokens
    hits: int = 0  # calls answered from the cache or by an equal call
    retries: int = 0
    given_up: int = 0  # calls that failed because the retry budget was used up
    failures: Counter[str] = field(default_factory=Counter)  # failed tries by kind
    notes: Counter[str] = field(default_factory=Counter)  # replies by what is to be said of them
    judged: Counter[str] = field(default_factory=Counter)  # a judge's questions, and what they cost

    def failed(self, problem: ModelError) -> None:
        """Count a failure by its HTTP status, or by the class of the error."""
        self.failures[str(problem.status or type(problem).__name__)] += 1

    def noted(self, response: Response) -> None:
        """Count the notes of a reply; beyond ``MOST_NOTES`` different ones, without their words."""
        for note in response.notes:
            self.notes[note if note in self.notes or len(self.notes) < MOST_NOTES else "other notes"] += 1


_OUTSIDE_OF_RUNS = CallStats()
current: ContextVar[CallStats] = ContextVar("call_stats", default=_OUTSIDE_OF_RUNS)
