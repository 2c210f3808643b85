"""Counts of the calls of a run's models, for the run's display.

A model may serve several runs, one after another, and a run may use several models (a judge is one of them).
Each call therefore counts for the run in which it is made, which the context variable ``current`` holds.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from contextvars import ContextVar
from dataclasses import dataclass, field

from evalkit.errors import ModelError
from evalkit.models.middleware.spending import Spending
from evalkit.models.prices import Price
from evalkit.types import Response

MOST_NOTES = 20
OF_JUDGE = "of the judge: "  # before a note on a judge's reply


@dataclass
class CacheUse:
    """How many answers of a model are of earlier runs, how old the oldest is, and whether it was checked.

    Times are epoch seconds. ``check`` is the outcome of ``WeightsCheck``, empty if there was none; ``why``
    is its reason. ``found`` is the time of the oldest answer that was found, used or not.
    """

    answers: int = 0
    oldest: float | None = None
    check: str = ""
    why: str = ""
    found: float | None = None

    def count(self, filed: float) -> None:
        """Count an answer that was written to the cache at ``filed``."""
        self.answers += 1
        self.oldest = min(filed, self.oldest or filed)

    def checked(self, outcome: str, why: str, filed: float) -> None:
        """Note the outcome of the check of an answer that was written at ``filed``."""
        self.check, self.why, self.found = outcome, why, min(filed, self.found or filed)

    def with_later(self, later: CacheUse) -> CacheUse:
        """Return this use and a later one of the same run as one."""
        return CacheUse(
            self.answers + later.answers,
            min(filter(None, (self.oldest, later.oldest)), default=None),
            later.check or self.check,
            later.why if later.check else self.why,
            min(filter(None, (self.found, later.found)), default=None),
        )


@dataclass
class JobProgress:
    """A batch job: its lines, those that are done, the vendor's state, and the time of submission (epoch)."""

    lines: int
    done: int = 0
    state: str = "submitted"
    ended: bool = False
    since: float = field(default_factory=time.time)


@dataclass
class CallStats:
    """Counts of one run, which began at ``began`` (epoch seconds)."""

    began: float = field(default_factory=time.time)
    in_flight: int = 0  # calls at the servers now
    tokens: int = 0  # output tokens
    hits: int = 0  # calls answered from the cache or by an equal call
    retries: int = 0
    given_up: int = 0  # calls that failed because the retry budget was used up
    failures: Counter[str] = field(default_factory=Counter)  # failed tries by kind
    notes: Counter[str] = field(default_factory=Counter)  # replies by what is to be said of them
    judged: Counter[str] = field(default_factory=Counter)  # a judge's questions, and what they cost
    cached: defaultdict[str, CacheUse] = field(default_factory=lambda: defaultdict(CacheUse))  # by model
    jobs: dict[str, JobProgress] = field(default_factory=dict)  # batch jobs by the vendor's id
    secrets: Counter[str] = field(default_factory=Counter)  # replies that repeated a secret, by its name
    prices: dict[str, Price] = field(default_factory=dict)  # of the models that were paid, by name
    spent: defaultdict[str, float] = field(
        default_factory=lambda: defaultdict(float)
    )  # US dollars by account
    spending: Spending = field(default_factory=Spending)  # of the whole command

    def failed(self, problem: ModelError) -> None:
        """Count a failure by its HTTP status, or by the class of the error."""
        self.failures[str(problem.status or type(problem).__name__)] += 1

    def noted(self, response: Response, of: str = "") -> None:
        """Count the notes of a reply, with ``of`` before each; beyond ``MOST_NOTES``, without their words."""
        for note in (of + note for note in response.notes):
            self.notes[note if note in self.notes or len(self.notes) < MOST_NOTES else "other notes"] += 1


_OUTSIDE_OF_RUNS = CallStats()
current: ContextVar[CallStats] = ContextVar("call_stats", default=_OUTSIDE_OF_RUNS)
