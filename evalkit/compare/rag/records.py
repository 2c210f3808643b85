"""The records of a RAG report, which ``--json`` prints as they are."""

from __future__ import annotations

from msgspec import Struct, field

from evalkit.types import Estimate


class Gain(Struct, frozen=True):
    """One metric in two arms over the same samples; ``difference`` is first − second, paired by sample."""

    metric: str
    higher_is_better: bool
    first: str
    second: str
    meaning: str
    a: float
    b: float
    difference: Estimate


class AgentGain(Struct, frozen=True):
    """A run of the arm ``agent`` against one of the arm ``retrieved``, paired by sample, with their tokens.

    Tokens are means over the samples, of all prompts and completions. ``equal_tokens``: they differ by no
    more than a quarter (``evalkit.compare.rag.agent.EQUAL``).
    """

    first: str
    second: str
    first_tokens: float
    second_tokens: float
    a: float
    b: float
    difference: Estimate
    equal_tokens: bool


class Cause(Struct, frozen=True):
    """One cause of right or wrong replies in the arm ``retrieved``: the number of samples and their share."""

    name: str
    meaning: str
    n: int
    share: Estimate


class Point(Struct, frozen=True):
    """One point of a curve: the mean score of the samples at the place ``at``."""

    at: str
    estimate: Estimate


class MissingRun(Struct, frozen=True):
    """A missing run: the figures that need it, and the command that makes it."""

    what: str
    command: str


class Report(Struct, frozen=True):
    """The report on the runs of one model on one RAG task.

    ``runs`` are run ids by label (``oracle``, ``retrieved k=5``, ``hidden k=5 position=1``), ``arms`` the
    estimates of the run that represents each arm, by its label. ``metric`` is used for the curves and causes.
    A sample is right if its score is ``right`` or better; ``rule`` is the reason. ``right`` is None for a
    graded metric if nobody said what is right: there are no causes then. ``retrieval`` are the
    retriever's own metrics, ``abstained`` the share of replies that abstain, by arm. Of the arm ``agent``:
    ``by_search`` is the share of gold documents found after each search, ``searches`` the share of samples by
    the number of searches, ``agent_gains`` the gain over one search beside the tokens of both.
    """

    task: str
    model: str
    params: dict[str, str]
    metric: str
    higher_is_better: bool
    right: float | None
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
    by_search: tuple[Point, ...]
    searches: tuple[Point, ...]
    agent_gains: tuple[AgentGain, ...]
    missing_runs: tuple[MissingRun, ...] = field(name="gaps")
