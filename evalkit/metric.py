"""A ``Metric``: a named function of one sample and its answer, with the facts to report its values.

``import evalkit`` imports this module, so no slow import stands at its top.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, overload

from evalkit.errors import MetricError, UsageError, did_you_mean

if TYPE_CHECKING:
    from evalkit.types import Answer, Sample, Status

Function = Callable[["Sample", "Answer"], float | None]
Kind = Literal["output", "retrieval", "fact"]


@dataclass(frozen=True)
class Metric:
    """A named measure that gives one number for one sample.

    ``name`` carries the parameters (``recall@5``). ``fn`` returns None where the metric does not apply to
    the sample *by design of the task* (no gold document, an arm without retrieval), never because of what
    the model said. ``kind`` says whose work is measured: a failed reply scores ``worst`` on an ``output``
    metric, while ``retrieval`` and ``fact`` metrics (a length, a latency) are computed all the same. An
    ``output`` metric without a finite worst score raises ``UsageError``.
    ``higher_is_better`` is None for descriptive numbers, which are never ranked.
    A run's value is the mean of its samples' values, or what ``aggregate`` makes of them: then ``low`` and
    ``high`` are the range of the run's value, and the samples' may be anything that it understands. Such an
    ``output`` metric judges failed replies itself, by ``answer.status``, which is then always set.
    ``check_requirements`` is called once before a run begins, and raises ``SetupError`` where a package,
    weights or a word list that the metric needs are not there: better then than at every sample.
    ``check_sample`` is called for every sample before a run begins, and raises ``MetricError`` where the
    metric could not score it.
    ``version`` is the version of the metric's rule, stored with each run: runs that were scored by different
    versions are not compared as equals.
    """

    name: str
    fn: Function
    low: float = 0.0
    high: float | None = 1.0
    higher_is_better: bool | None = True
    kind: Kind = "output"
    unit: str = ""
    help: str = ""
    aggregate: Callable[[Sequence[float]], float] | None = None
    check_requirements: Callable[[], object] | None = None
    version: int = 1
    check_sample: Callable[[Sample], object] | None = None

    def __post_init__(self) -> None:
        if self.kind == "output" and not math.isfinite(self.worst):
            raise UsageError(
                f"metric {self.name!r} has no worst score for failed replies: "
                f"give a finite {'high' if self.higher_is_better is False else 'low'}="
            )

    @property
    def judges_output(self) -> bool:
        """Whether the metric says how good the output is (a length or a retrieval metric does not)."""
        return self.kind == "output" and self.higher_is_better is not None

    @property
    def worst(self) -> float:
        """The score of a failed reply."""
        if self.higher_is_better is False:
            return math.inf if self.high is None else self.high
        return self.low

    def __call__(self, sample: Sample, answer: Answer, status: Status | None = None) -> float | None:
        """Score one sample; without a ``status`` it is ``ok``. Return None where the metric does not apply.

        Raises ``MetricError`` for a value that is not finite or lies outside the metric's range.
        """
        if self.aggregate is not None:
            answer = answer.ended(status)
        value = self.fn(sample, answer)
        if value is None:
            return None
        if self.kind == "output" and status and status.failed and self.aggregate is None:
            return self.worst
        return self._checked(float(value), sample)

    def _checked(self, value: float, sample: Sample) -> float:
        high = math.inf if self.high is None else self.high
        slack = 1e-9  # for rounding errors
        if self.aggregate is not None and math.isfinite(value):
            return value
        if not math.isfinite(value) or not self.low - slack <= value <= high + slack:
            raise MetricError(
                f"{self.name} gave {value} on sample {sample.id!r}, outside its range [{self.low}, {high}]; "
                "declare the range with low= and high= (high=None: no upper end)"
            )
        return min(max(value, self.low), high)


@overload
def metric(fn: Function) -> Metric: ...


@overload
def metric(
    *,
    name: str | None = None,
    low: float = 0.0,
    high: float | None = 1.0,
    higher_is_better: bool | None = True,
    kind: Kind = "output",
    unit: str = "",
    version: int = 1,
    judges: Kind | None = None,
) -> Callable[[Function], Metric]: ...


def metric(
    fn: Function | None = None,
    *,
    name: str | None = None,
    low: float = 0.0,
    high: float | None = 1.0,
    higher_is_better: bool | None = True,
    kind: Kind = "output",
    unit: str = "",
    version: int = 1,
    judges: Kind | None = None,
) -> Metric | Callable[[Function], Metric]:
    """Make ``(sample, answer) -> float | None`` a metric: ``@metric`` or ``@metric(high=None)``.

    ``judges`` is the former name of ``kind``.
    """
    if judges is not None:
        warnings.warn("@metric(judges=…) is now @metric(kind=…)", DeprecationWarning, stacklevel=2)
        kind = judges

    def wrap(f: Function) -> Metric:
        doc = (f.__doc__ or "").strip().split("\n")[0]
        return Metric(name or f.__name__, f, low, high, higher_is_better, kind, unit, doc, version=version)

    return wrap if fn is None else wrap(fn)


def only(m: Metric, name: str | None = None, /, **slices: str) -> Metric:
    """Return the same metric for the samples of some slices: ``only(exact_match(), answer_type="open")``.

    The metric does not apply to other samples. The default name lists the slices:
    ``exact_match[answer_type=open]``.
    """
    if name is None:
        listed = ",".join(f"{key}={value}" for key, value in slices.items())
        name = f"{m.name[:-1]},{listed}]" if m.name.endswith("]") else f"{m.name}[{listed}]"
    check = m.check_sample and partial(_checked_only, m.check_sample, slices)
    return replace(m, name=name, fn=partial(_only, m.fn, slices), check_sample=check)


def _only(fn: Function, slices: Mapping[str, str], sample: Sample, answer: Answer) -> float | None:
    return fn(sample, answer) if _applies(slices, sample) else None


def _checked_only(check: Callable[[Sample], object], slices: Mapping[str, str], sample: Sample) -> None:
    if _applies(slices, sample):
        check(sample)


def _applies(slices: Mapping[str, str], sample: Sample) -> bool:
    return all(sample.slices.get(name) == value for name, value in slices.items())


def check_option(owner: str, value: str, options: Sequence[str]) -> None:
    """Raise ``UsageError`` where ``value`` is not one of ``options``."""
    if value not in options:
        raise UsageError(
            f"{owner}: {value!r} is not one of {', '.join(options)}.{did_you_mean(value, options)}"
        )
