"""Effects of treatments: ratios and differences with 95 % intervals, and how they are pooled.

Everything is computed in ``decimal``, whose logarithm, exponential and square root are correctly rounded on
every machine, which the C library's are not. An effect is kept as it is printed, to two decimals, and pooling
starts from the printed values: whoever reads the abstracts can arrive at the very same pooled effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import Literal

from msgspec import Struct

Measure = Literal["risk ratio", "hazard ratio", "mean difference"]
Direction = Literal["favours treatment", "favours control", "no clear difference", "conflicting"]

HUNDREDTH = Decimal("0.01")
_Z = Decimal("1.96")
_PRECISION = Context(prec=24)


class Effect(Struct, frozen=True):
    """A point estimate with its 95 % interval, rounded to two decimals."""

    value: Decimal
    low: Decimal
    high: Decimal

    def direction(self, measure: Measure, desirable: bool) -> Direction:
        """Whom the interval favours; ``desirable`` says that more of the outcome is good for the patient."""
        null = no_effect(measure)
        if self.low <= null <= self.high:
            return "no clear difference"
        return "favours treatment" if (self.low > null) == desirable else "favours control"


def no_effect(measure: Measure) -> Decimal:
    """The value that means no difference: 1 for ratios, 0 for mean differences."""
    return Decimal(0 if measure == "mean difference" else 1)


def _interval(centre: Decimal, error: Decimal, ratio: bool) -> Effect:
    ends = (centre, centre - _Z * error, centre + _Z * error)
    return Effect(*((end.exp() if ratio else end).quantize(HUNDREDTH) for end in ends))


def risk_ratio(events: int, n: int, control_events: int, control_n: int) -> Effect:
    """Risk ratio with its interval by the log method (Katz et al. 1978). Needs an event in each arm."""
    with localcontext(_PRECISION):
        a, n1, c, n0 = map(Decimal, (events, n, control_events, control_n))
        error = (1 / a - 1 / n1 + 1 / c - 1 / n0).sqrt()
        return _interval((a * n0 / (c * n1)).ln(), error, ratio=True)


def hazard_ratio(true: Decimal, noise: float, events: int) -> Effect:
    """A hazard ratio drawn around ``true``; SE of its logarithm ≈ 2/√events in two equal arms (Schoenfeld).

    ``noise`` is in standard errors.
    """
    with localcontext(_PRECISION):
        error = 2 / Decimal(events).sqrt()
        return _interval(true.ln() + Decimal(noise) * error, error, ratio=True)


def mean_difference(mean: Decimal, sd: Decimal, n: int, control: tuple[Decimal, Decimal, int]) -> Effect:
    """Treatment less control (mean, SD, n) with its interval for unequal variances, normal approximation."""
    with localcontext(_PRECISION):
        mean0, sd0, n0 = control
        return _interval(mean - mean0, (sd * sd / n + sd0 * sd0 / n0).sqrt(), ratio=False)


@lru_cache(4096)  # printed ratios are few, and logarithms to 24 digits the slowest step of all
def _log(printed: Decimal) -> Decimal:
    return _PRECISION.ln(printed)


def pool(effects: Sequence[Effect], measure: Measure) -> Effect:
    """Fixed-effect inverse-variance pooling; ratios on the log scale.

    A standard error is the width of the printed interval, (upper − lower) / (2 · 1.96), as meta-analysts
    recover it from publications (Cochrane Handbook 6.3.2).
    """
    ratio = measure != "mean difference"
    with localcontext(_PRECISION):
        weights, weighted = Decimal(0), Decimal(0)
        for effect in effects:
            value, error = _printed(effect, ratio)
            weights += 1 / (error * error)
            weighted += value / (error * error)
        return _interval(weighted / weights, 1 / weights.sqrt(), ratio)


def indirect(first: Effect, second: Effect, measure: Measure) -> Effect:
    """The first treatment against the second, each compared with the same control (Bucher et al. 1997).

    The difference of the two effects, ratios on the log scale; variances add up. Standard errors come from
    the printed intervals, as in ``pool``.
    """
    ratio = measure != "mean difference"
    with localcontext(_PRECISION):
        (a, error_a), (b, error_b) = (_printed(effect, ratio) for effect in (first, second))
        return _interval(a - b, (error_a * error_a + error_b * error_b).sqrt(), ratio)


def _printed(effect: Effect, ratio: bool) -> tuple[Decimal, Decimal]:
    """A printed effect on the scale that effects add up on, with its standard error."""
    value, low, high = (_log(x) if ratio else x for x in (effect.value, effect.low, effect.high))
    return value, (high - low) / (2 * _Z)
