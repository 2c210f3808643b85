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
    kind: str = "output"
    unit: str = ""
    help: str = ""

    @property
    def judges_output(self) -> bool:
        """Whether the metric says how good the output is (a length or a retrieval metric does not)."""
        return self.kind == "output" and self.higher_is_better is not None


class ParameterInfo(Struct, frozen=True):
    """A parameter of a task as it was when a run began: its default, and its values where it lists them."""

    default: Any = None
    choices: tuple[Any, ...] = ()


class Reproduction(Struct, frozen=True, kw_only=True):
    """What ``resume`` and ``rescore`` need to build a run again.

    ``path`` is the task file (absolute, None for a task without one of ours). ``params`` are the values of
    all parameters, with absolute paths; ``named`` those that stand in the node id. ``parameters`` says what
    the task took when the run began: readers of a run never ask its task file. ``metrics`` are calls that
    were added to the task's own. ``cache`` and ``max_inflight`` are the options of the run; ``given`` says
    that its answers came from a file or a program, so that nothing can be asked again.
    """

    path: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    parameters: dict[str, ParameterInfo] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    cache: Literal["on", "off", "refresh", "only"] = "on"
    max_inflight: int | None = None
    given: bool = False


class RunSpec(Struct, frozen=True, kw_only=True):
    """What a run is, known before its first sample.

    ``task`` is the short node id (``pubmed_rag[arm=oracle,k=5]``), ``path`` the task file as it was given,
    ``model`` the model's name and ``model_spec`` the text that names its provider and address. ``dataset`` is
    the fingerprint of the samples (hex), ``n_expected`` samples times repeats, or None while the data set is
    still being read. No secret is ever in here.
    """

    id: str
    task: str
    path: str
    model: str
    model_spec: str
    tags: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    metrics: tuple[MetricInfo, ...] = ()
    repeats: int = 1
    limit: int | None = None
    n_expected: int | None = None
    dataset: str = ""
    reproduction: Reproduction = Reproduction()
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def task_name(self) -> str:
        """Return the task's name without its parameters: ``pubmed_rag``."""
        return self.task.partition("[")[0]


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
    def sample_set(self) -> tuple[str, int, int]:
        """Runs with the same value were asked the same questions as often."""
        return self.spec.dataset, self.n, self.spec.repeats

    @property
    def is_complete(self) -> bool:
        """Only complete runs may be compared."""
        return self.status == "complete"
