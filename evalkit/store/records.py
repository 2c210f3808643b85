"""The records of the store, without any database in them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from dataclasses import field as of
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from evalkit.types import Answer, Estimate, Image, Sample, Score, Status

RunStatus = Literal["running", "complete", "incomplete", "interrupted"]


class MetricInfo(Struct, frozen=True):
    """The facts about a metric that the store keeps.

    ``version`` is the version of its rule. ``code`` is the SHA-256 of a metric from a task's own files; empty
    for evalkit's metrics. ``aggregated``: a run's value is not the mean of its samples' values.
    """

    name: str
    low: float = 0.0
    high: float | None = 1.0
    higher_is_better: bool | None = True
    kind: str = "output"
    unit: str = ""
    help: str = ""
    version: int = 1
    code: str = ""
    aggregated: bool = False

    @property
    def judges_output(self) -> bool:
        """Whether the metric says how good the output is (a length or a retrieval metric does not)."""
        return self.kind == "output" and self.higher_is_better is not None

    @property
    def worst(self) -> float:
        """The score of a failed reply, for a metric that judges the output."""
        return self.high if self.higher_is_better is False and self.high is not None else self.low


class ParameterInfo(Struct, frozen=True):
    """A task's parameter when a run began: its default, and its allowed values where the task lists them."""

    default: Any = None
    choices: tuple[Any, ...] = ()


class Reproduction(Struct, frozen=True, kw_only=True):
    """The facts that ``resume`` and ``rescore`` need to build a run again.

    ``path`` is the absolute path of the task file, None for a task without one. ``params`` are the values of
    all parameters, with absolute paths; ``named`` the names in the node id. ``parameters`` describes the
    task's parameters when the run began, so that nobody reads the task file to show a run. ``metrics`` are
    expressions that were added to the task's own. ``cache`` and ``max_inflight`` are the options of the run.
    ``given``: the answers came from a file or a program, so that no model can be asked again.
    """

    path: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    parameters: dict[str, ParameterInfo] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    cache: Literal["on", "off", "refresh", "only"] = "on"
    max_inflight: int | None = None
    given: bool = False


class Sampling(Struct, frozen=True):
    """How the ``limit`` samples of a run were chosen, if they are not the first ones."""

    how: Literal["random", "stratified"]
    seed: int = 0


class RunSpec(Struct, frozen=True, kw_only=True):
    """The description of a run, made before its first sample.

    ``task`` is the short node id (``pubmed_rag[arm=oracle,k=5]``), ``path`` the task file as the user named
    it, ``model`` the model's name and ``model_spec`` the text that names its provider and address.
    ``dataset`` is the fingerprint of the samples (hex), ``n_expected`` samples times repeats, or None while
    the data set is being read. ``limit`` and ``sampling`` say which samples were taken from the data set.
    A description never contains a secret. ``label`` and ``hidden`` are a person's notes, made later: a hidden
    run is in no ranking and in no list of the leaderboard.
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
    sampling: Sampling | None = None
    n_expected: int | None = None
    dataset: str = ""
    reproduction: Reproduction = Reproduction()
    provenance: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    hidden: bool = False

    @property
    def task_name(self) -> str:
        """The task's name without its parameters: ``pubmed_rag``."""
        return self.task.partition("[")[0]

    @property
    def left_out(self) -> dict[str, str]:
        """The parameters that the model's server does not take, each with its words or the reason."""
        refused: dict[str, str] = self.provenance.get("model", {}).get("server", {}).get("left_out", {})
        return refused


Cut = Literal["", "answer", "reasoning"]


class Tokens(Struct, frozen=True):
    """Token counts, summed over calls. Sums that cannot be one (an older evalkit stored them) become 0."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) < 2**53:
                msgspec.structs.force_setattr(self, name, 0)


class Calls(Struct, frozen=True):
    """The calls of one sample: how many they were, and their tokens together."""

    calls: int
    prompt: int
    completion: int
    cached: int


class SampleRecord(Struct, frozen=True, kw_only=True):
    """A sample that has ended. ``sequence`` is its number in the run: sample index × repeats + repeat.

    ``requests`` are the calls as they were sent (images by hash, no secrets). ``images`` are the images of
    these calls; the store keeps them by hash, and a record that is read comes without them. ``error`` holds
    type and message where the status is ``error``. ``cut`` says where the last reply was cut off, if it was.
    ``cost`` is what the calls of the model under test cost in US dollars, ``judge_cost`` those of the judge
    and of all other models; None where no price is known. Replies from the response cache cost nothing.
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
    cut: Cut = ""
    cost: float | None = None
    judge_cost: float | None = None

    @property
    def no_answer(self) -> str:
        """What to say in place of an empty reply."""
        if self.cut == "reasoning":
            return "No answer: the reply was cut off inside its reasoning."
        return "No answer: the reply was cut off." if self.cut else "The reply is empty."


@dataclass(frozen=True)
class Column:
    """One metric over a run, by sequence: arrays of equal length, 24 bytes a sample.

    ``clusters`` are hashes of the clusters' names, valid in this process. A value is NaN where the metric
    failed.
    """

    sequences: array[int] = of(default_factory=lambda: array("q"))
    clusters: array[int] = of(default_factory=lambda: array("q"))
    values: array[float] = of(default_factory=lambda: array("d"))


@dataclass(frozen=True)
class Endings:
    """How the samples of a run ended, by sequence: arrays of equal length.

    ``tokens`` are the completion tokens of all calls of a sample, 0 where no server counted them. ``cut`` is
    True for a status ``truncated``, ``failed`` for each status that scores as wrong. Samples that ended in an
    error are left out.
    """

    sequences: array[int] = of(default_factory=lambda: array("q"))
    tokens: array[int] = of(default_factory=lambda: array("q"))
    calls: array[int] = of(default_factory=lambda: array("q"))
    cut: list[bool] = of(default_factory=list)
    failed: list[bool] = of(default_factory=list)


class Run(Struct, frozen=True, kw_only=True):
    """A run with its results. Times are seconds since 1970, UTC; ``wall_s`` is a duration in seconds.

    ``cut_in_reasoning`` counts the samples whose reply ended inside the reasoning. ``cost`` and
    ``judge_cost`` are sums in US dollars, None where a price is missing. ``slices`` are the estimates over
    parts of the samples, by the part's name (``answer_type=open``) and metric; they are empty in lists of
    runs.
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
    cut_in_reasoning: int = 0
    cost: float | None = None
    judge_cost: float | None = None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def sample_set(self) -> tuple[str, int, int]:
        """The identity of the samples: runs with the same value asked the same questions equally often."""
        return self.spec.dataset, self.n, self.spec.repeats

    @property
    def size(self) -> str:
        """The number of samples for reports: ``120``; ``30 × 4`` with repeats; unfinished ``65/120``."""
        repeats, expected = self.spec.repeats, self.spec.n_expected
        if not self.is_complete:
            return f"{self.n:,}/{expected:,}" if expected is not None else f"{self.n:,}"
        return f"{self.n // repeats:,} × {repeats}" if repeats > 1 else f"{self.n:,}"

    @property
    def is_complete(self) -> bool:
        """Whether all samples have ended and all metrics scored; only then may the run be compared."""
        return self.status == "complete"
