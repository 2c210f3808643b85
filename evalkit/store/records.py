"""What goes into the store and comes out of it: plain records, no database in them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from dataclasses import field as of
from typing import Any, Literal

from msgspec import Struct, field

from evalkit.types import Answer, Estimate, Image, Sample, Score, Status

RunStatus = Literal["running", "complete", "incomplete", "interrupted"]


class MetricInfo(Struct, frozen=True):
    """What the store and the leaderboard need to know of a metric."""

    name: str
    low: float = 0.0
    high: float | None = 1.0
    higher_is_better: bool | None = True
    judges: str = "output"
    unit: str = ""
    help: str = ""

    @property
    def judges_output(self) -> bool:
        """Whether the metric says how good the output is (a length or a retrieval metric does not)."""
        return self.judges == "output" and self.higher_is_better is not None


class RunSpec(Struct, frozen=True, kw_only=True):
    """What a run is, known before its first sample.

    ``task`` is the short node id (``pubmed_rag[arm=oracle,k=5]``), ``path`` the task file as it was given,
    ``target`` all that ``resume`` needs to build the same run again. ``dataset`` is the fingerprint of the
    samples (hex), ``n_expected`` samples times repeats, or None while the data set is still being read.
    No secret is ever in here.
    """

    id: str
    task: str
    path: str
    model: str
    spec: str
    tags: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[MetricInfo, ...] = ()
    repeats: int = 1
    limit: int | None = None
    n_expected: int | None = None
    dataset: str = ""
    target: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


class Tokens(Struct, frozen=True):
    """Token counts, summed over calls."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


class SampleRecord(Struct, frozen=True, kw_only=True):
    """One sample, ended. ``sequence`` is its place in the run (sample index × repeats + repeat).

    ``requests`` are the calls as they were sent (images by hash, no secrets), ``images`` the pictures that
    they showed, which are stored by their hash and do not come back with the record. ``error`` holds type
    and message where status is ``error``.
    """

    sequence: int
    sample: Sample
    repeat: int = 0
    status: Status
    answer: Answer | None = None
    requests: tuple[dict[str, Any], ...] = ()
    images: tuple[Image, ...] = ()
    scores: tuple[Score, ...] = ()
    error: str | None = None
    tokens: Tokens = Tokens()
    calls: int = 0
    calls_from_cache: int = 0
    latency_s: float = 0.0


@dataclass(frozen=True)
class Column:
    """One metric over a run, by sequence: 24 bytes a sample, arrays of equal length.

    ``clusters`` are numbers: equal where the samples' clusters are (hashes of their names, valid in this
    process). A value is NaN where the metric itself failed.
    """

    sequences: array[int] = of(default_factory=lambda: array("q"))
    clusters: array[int] = of(default_factory=lambda: array("q"))
    values: array[float] = of(default_factory=lambda: array("d"))


class Run(Struct, frozen=True, kw_only=True):
    """A run as the store knows it. Times are seconds since 1970, UTC.

    ``slices`` are the estimates over parts of the samples, by the part's name (``answer_type=open``) and by
    metric; lists of runs come without them.
    """

    spec: RunSpec
    status: RunStatus
    started: float
    ended: float | None = None
    heartbeat: float | None = None
    wall_s: float = 0.0
    n: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, Estimate] = field(default_factory=dict)
    slices: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    tokens: Tokens = Tokens()
    calls: int = 0
    calls_from_cache: int = 0

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def samples(self) -> tuple[str, int, int]:
        """Runs with the same value were asked the same questions as often."""
        return self.spec.dataset, self.n, self.spec.repeats

    @property
    def ranked(self) -> bool:
        """Only complete runs may be compared."""
        return self.status == "complete"
