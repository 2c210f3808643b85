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
from evalkit.store import conditions
from evalkit.store.records import MetricInfo, Run, RunSpec
from evalkit.types import Estimate

if TYPE_CHECKING:
    from evalkit.store.store import Store

POWER = 0.8


class Verdict(Struct, frozen=True):
    """The outcome of one check: whether it passed, and the text that a report shows."""

    passed: bool
    text: str


def smallest_detectable(estimate: Estimate) -> float:
    """Return the true difference that a two-sided test at the estimate's level detects with 80 % power.

    It is (z₁₋α/₂ + z₁₋β) · SE. Where the scores do not vary, the error is 0, which claims too much: the
    half-width of the interval then replaces z₁₋α/₂ · SE.
    """
    z = NormalDist().inv_cdf((1 + estimate.level) / 2)
    se = estimate.se if estimate.se > 0 else (estimate.ci[1] - estimate.ci[0]) / 2 / z
    return (z + NormalDist().inv_cdf(POWER)) * se


def metrics_to_check(spec: RunSpec, thresholds: Mapping[str, float]) -> list[MetricInfo]:
    """Return the metrics that ``thresholds`` names; without any, the first that judges the model's output.

    Raises ``UsageError`` for a metric that the run does not have, or that has no better direction.
    """
    infos = {info.name: info for info in spec.metrics}
    for name in thresholds:
        if name not in infos:
            raise UsageError(
                f"{spec.task} has no metric {name!r}.{did_you_mean(name, infos)} "
                f"Its metrics: {', '.join(infos)}."
            )
        if infos[name].higher_is_better is None:
            raise UsageError(
                f"{name} only describes: no value is better than another, so it takes no threshold"
            )
    named = [infos[name] for name in thresholds]
    output = [m for m in infos.values() if m.judges_output]
    return named or output[:1]


def check_threshold(run: Run, info: MetricInfo, threshold: float, whole_interval: bool) -> Verdict:
    """Check that the mean, or with ``whole_interval`` its whole interval, is no worse than ``threshold``."""
    estimate = run.metrics.get(info.name)
    if estimate is None:
        return Verdict(False, f"{info.name} was not scored on any sample")
    down = info.higher_is_better is False
    value = (estimate.ci[1] if down else estimate.ci[0]) if whole_interval else estimate.value
    passed = value <= threshold if down else value >= threshold
    limit = "at most" if down else "at least"
    subject = "its interval must be" if whole_interval else "must be"
    return Verdict(
        passed,
        f"{_with_interval(info.name, estimate)}: {subject} {limit} {threshold:g}\n"
        f"  {_detectable_text(estimate, 'in its true mean')}",
    )


def check_baseline(store: Store, run: Run, base: Run, info: MetricInfo, margin: float) -> Verdict:
    """Check that the whole interval of the paired difference to ``base`` is no worse than −``margin``.

    The text names what else than the model differs. Scores by different rules of a metric do not pass.
    """
    better, worse = (base, run) if info.higher_is_better is False else (run, base)
    scores, others = (RunScores(store, scored, {info.name}) for scored in (better, worse))
    pairs = scores.pairs(others, info.name)
    if pairs is None or pairs.unpaired:
        return Verdict(
            False, f"{info.name}: run {base.id} was scored on other samples; the runs cannot be compared"
        )
    unlike = conditions.for_metric(conditions.differences(run, base), info.name)
    if any(one.metric for one in unlike):
        return Verdict(
            False,
            f"{info.name}: run {base.id} was scored by another rule ({conditions.listed(unlike)}); "
            f"score it by the present one: evalkit rescore {base.id}",
        )
    difference = pairs.difference(info)
    detectable = smallest_detectable(difference)
    here, there = run.metrics[info.name].value, base.metrics[info.name].value
    title = f"{info.name}, difference to the baseline:"
    text = (
        f"{_with_interval(title, difference)}: must be no worse than {-margin:g} "
        f"at {difference.level:.0%}\n"
        f"  {here:.4g} here, {there:.4g} in run {base.id} ({base.spec.model})\n"
        f"  {_detectable_text(difference, 'between the two')}"
    )
    if margin > 0 and detectable > margin and math.isfinite(detectable):
        samples = math.ceil(difference.n * (detectable / margin) ** 2)
        text += f"; to detect {margin:g} takes about {samples} samples"
    if unlike:
        text += f"\n  not of the model alone: the runs also differ in {conditions.listed(unlike)}"
    return Verdict(difference.ci[0] >= -margin, text)


def find_baseline(spec: RunSpec, baselines: Sequence[Run]) -> Run:
    """Return the last of ``baselines`` that has the task and parameters of a run, before it asks anything.

    Raises ``UsageError`` where there is none, or where that one is incomplete or has other samples.
    """
    same = [base for base in baselines if base.spec.task == spec.task]
    if not same:
        raise UsageError(
            f"no baseline for {spec.task}: --evalkit-baseline names runs of "
            f"{', '.join(base.spec.task for base in baselines)}"
        )
    base = same[-1]
    if not base.is_complete:
        raise UsageError(f"baseline run {base.id} is {base.status}: a baseline must be a complete run")
    if (base.spec.dataset, base.spec.repeats) != (spec.dataset, spec.repeats):
        raise UsageError(
            f"baseline run {base.id} has other samples ({base.spec.n_expected}, this one "
            f"{spec.n_expected}): use the same data, --evalkit-limit and repeats"
        )
    return base


def _with_interval(name: str, estimate: Estimate) -> str:
    return f"{name} {estimate.value:.4g} [{estimate.ci[0]:.4g}, {estimate.ci[1]:.4g}] (n={estimate.n})"


def _detectable_text(estimate: Estimate, where: str) -> str:
    smallest = smallest_detectable(estimate)
    if not math.isfinite(smallest):
        return "one sample cannot show any difference"
    return (
        f"the smallest difference {where} that {estimate.n} samples detect with 80 % power is {smallest:.3g}"
    )
