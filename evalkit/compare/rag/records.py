"""What a RAG report holds: plain records, which ``--json`` shows as they are."""

from __future__ import annotations

from msgspec import Struct

from evalkit.types import Estimate


class Gain(Struct, frozen=True):
    """One metric in two arms over the same samples; ``difference`` is the first less the second, paired."""

    metric: str
    higher_is_better: bool
    first: str
    second: str
    meaning: str
    a: float
    b: float
    difference: Estimate


class Cause(Struct, frozen=True):
    """How many samples of the retrieved arm ended so, and their share of all."""

    name: str
    meaning: str
    n: int
    share: Estimate


class Point(Struct, frozen=True):
    """One point of a curve: the mean score of the samples, or runs, that are at ``at``."""

    at: str
    estimate: Estimate


class Gap(Struct, frozen=True):
    """Something that the report cannot say, and the command that would let it."""

    what: str
    command: str


class Report(Struct, frozen=True):
    """All that is known of one model's RAG on one task.

    ``runs`` are run ids by label (``oracle``, ``retrieved k=5``, ``hidden k=5 position=1``), ``arms`` the
    estimates of the run that stands for each arm, by its label. ``metric`` is what curves and causes are
    about; a sample is right from ``right`` on (up to it where low is good), and ``rule`` says why.
    ``retrieval`` are the retriever's own metrics, ``abstained`` the share of replies that abstain, by arm.
    """

    task: str
    model: str
    params: dict[str, str]
    metric: str
    higher_is_better: bool
    right: float
    rule: str
    runs: dict[str, str]
    arms: dict[str, dict[str, Estimate]]
    retrieval: dict[str, Estimate]
    gains: tuple[Gain, ...]
    causes: tuple[Cause, ...]
    by_rank: tuple[Point, ...]
    by_position: tuple[Point, ...]
    by_k: tuple[Point, ...]
    shown_by_k: tuple[Point, ...]
    by_noise: tuple[Point, ...]
    abstained: dict[str, Estimate]
    gaps: tuple[Gap, ...]
