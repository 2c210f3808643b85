"""Whether a run passes a test: against a threshold, or against a baseline run over the same samples.

Source: Miller 2024, "Adding Error Bars to Evals", for paired differences and the smallest detectable one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from msgspec import Struct

from evalkit.compare.paired import RunScores
from evalkit.errors import UsageError, did_you_mean
from evalkit.store.records import MetricInfo, Run
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store

POWER = 0.8


class Verdict(Struct, frozen=True):
    """The outcome of one comparison, and what to say of it."""

    passed: bool
    text: str


def smallest_detectable(made: Estimate) -> float:
    """The true difference that a two-sided test at the estimate's level would find with 80 % power.

    It is (z₁₋α/₂ + z₁₋β) · SE. Where the scores do not vary the error is 0, which says too much: the
    interval's half-width then stands for z₁₋α/₂ · SE.
    """
    z = NormalDist().inv_cdf((1 + made.level) / 2)
    se = made.se if made.se > 0 else (made.ci[1] - made.ci[0]) / 2 / z
    return (z + NormalDist().inv_cdf(POWER)) * se


def judged_metrics(run: Run, thresholds: Mapping[str, float]) -> list[MetricInfo]:
    """The metrics that thresholds name, or else the task's first that judges the model's output.

    Raises ``UsageError`` for a metric that the run does not have, or that is no better high than low.
    """
    known = {info.name: info for info in run.spec.metrics}
    for name in thresholds:
        if name not in known:
            raise UsageError(
                f"{run.spec.task} has no metric {name!r}.{did_you_mean(name, known)} "
                f"Its metrics: {', '.join(known)}."
            )
        if known[name].higher_is_better is None:
            raise UsageError(f"{name} only describes: no value of it is better, so it has no threshold")
    named = [known[name] for name in thresholds]
    output = [m for m in known.values() if m.judges_output]
    return named or output[:1]


def against_threshold(run: Run, info: MetricInfo, threshold: float, whole_interval: bool) -> Verdict:
    """Met where the mean is no worse than ``threshold``; with ``whole_interval``, its whole interval."""
    made = run.metrics.get(info.name)
    if made is None:
        return Verdict(False, f"{info.name} was not scored on any sample")
    down = info.higher_is_better is False
    value = (made.ci[1] if down else made.ci[0]) if whole_interval else made.value
    passed = value <= threshold if down else value >= threshold
    words = "at most" if down else "at least"
    what = "its interval must be" if whole_interval else "must be"
    return Verdict(
        passed,
        f"{_shown(info.name, made)}: {what} {words} {threshold:g}\n  {_detectable(made, 'in its true mean')}",
    )


def against_baseline(store: Store, run: Run, base: Run, info: MetricInfo, margin: float) -> Verdict:
    """Met where the paired difference to ``base`` is, by its whole interval, no worse than ``margin``."""
    better, worse = (base, run) if info.higher_is_better is False else (run, base)
    scores, others = (RunScores(store, one, {info.name}) for one in (better, worse))
    pairs = scores.pairs(others, info.name)
    if pairs is None or pairs.unpaired:
        return Verdict(False, f"{info.name}: run {base.id} has it on other samples; it cannot be compared")
    made = pairs.difference(info)
    detectable = smallest_detectable(made)
    here, there = run.metrics[info.name].value, base.metrics[info.name].value
    text = (
        f"{_shown(f'{info.name} less baseline', made)}: must be no worse than {-margin:g} "
        f"at {made.level:.0%}\n"
        f"  {here:.4g} here, {there:.4g} in run {base.id} ({base.spec.model})\n"
        f"  {_detectable(made, 'between the two')}"
    )
    if margin > 0 and detectable > margin and math.isfinite(detectable):
        text += f"; to find {margin:g} takes some {math.ceil(made.n * (detectable / margin) ** 2)} samples"
    return Verdict(made.ci[0] >= -margin, text)


def baseline_for(run: Run, baselines: Sequence[Run]) -> Run:
    """The one among ``baselines`` that is of this run's task, parameters and samples.

    Raises ``UsageError`` where there is none, or where it was asked other samples or is incomplete.
    """
    same = [one for one in baselines if one.spec.task == run.spec.task]
    if not same:
        raise UsageError(
            f"no baseline for {run.spec.task}: --evalkit-baseline names runs of "
            f"{', '.join(one.spec.task for one in baselines)}"
        )
    base = same[-1]
    if not base.ranked:
        raise UsageError(f"baseline run {base.id} is {base.status}: only a complete run can be compared with")
    if (base.spec.dataset, base.spec.repeats) != (run.spec.dataset, run.spec.repeats):
        raise UsageError(
            f"baseline run {base.id} was asked other samples ({base.spec.n_expected}, this one "
            f"{run.spec.n_expected}): use the same data, --evalkit-limit and repeats"
        )
    return base


def _shown(name: str, made: Estimate) -> str:
    return f"{name} {made.value:.4g} [{made.ci[0]:.4g}, {made.ci[1]:.4g}] (n={made.n})"


def _detectable(made: Estimate, where: str) -> str:
    found = smallest_detectable(made)
    if not math.isfinite(found):
        return "one sample cannot show any difference"
    return f"the smallest difference {where} that {made.n} samples show with 80 % power is {found:.3g}"
