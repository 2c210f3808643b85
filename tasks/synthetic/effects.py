"""Effects of treatments: ratios and differences with 95 % intervals, and how they are pooled.

``decimal`` computes everything: its logarithm, exponential and square root are correctly rounded on every
machine, unlike the C library's. An effect is stored as printed, to two decimals, and pooling starts from the
printed values, so that a reader of the abstracts can compute the same pooled effect.
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
        """Return the side that the interval favours; ``desirable``: more of the outcome is good."""
        null = no_effect(measure)
        if self.low <= null <= self.high:
            return "no clear difference"
        return "favours treatment" if (self.low > null) == desirable else "favours control"


def no_effect(measure: Measure) -> Decimal:
    """Return the value of no difference: 1 for ratios, 0 for mean differences."""
    return Decimal(0 if measure == "mean difference" else 1)


def _interval(centre: Decimal, error: Decimal, ratio: bool) -> Effect:
    ends = (centre, centre - _Z * error, centre + _Z * error)
    return Effect(*((end.exp() if ratio else end).quantize(HUNDREDTH) for end in ends))


def risk_ratio(events: int, n: int, control_events: int, control_n: int) -> Effect:
    """Return the risk ratio and interval by the log method (Katz et al. 1978); each arm needs an event."""
    with localcontext(_PRECISION):
        a, n1, c, n0 = map(Decimal, (events, n, control_events, control_n))
        error = (1 / a - 1 / n1 + 1 / c - 1 / n0).sqrt()
        return _interval((a * n0 / (c * n1)).ln(), error, ratio=True)


def hazard_ratio(true: Decimal, noise: float, events: int) -> Effect:
    """Return a hazard ratio near ``true``; the SE of its logarithm is 2/√events (Schoenfeld, equal arms).

    ``noise`` is in standard errors.
    """
    with localcontext(_PRECISION):
        error = 2 / Decimal(events).sqrt()
        return _interval(true.ln() + Decimal(noise) * error, error, ratio=True)


def mean_difference(mean: Decimal, sd: Decimal, n: int, control: tuple[Decimal, Decimal, int]) -> Effect:
    """Return treatment − control (mean, SD, n) with its interval: unequal variances, normal approximation."""
    with localcontext(_PRECISION):
        mean0, sd0, n0 = control
        return _interval(mean - mean0, (sd * sd / n + sd0 * sd0 / n0).sqrt(), ratio=False)


@lru_cache(4096)  # few different ratios are printed, and logarithms to 24 digits are the slowest step
def _log(printed: Decimal) -> Decimal:
    return _PRECISION.ln(printed)


def pool(effects: Sequence[Effect], measure: Measure) -> Effect:
    """Return the fixed-effect inverse-variance pooled effect, of ratios on the log scale.

    The standard error is (upper − lower) / (2 · 1.96) of the printed interval, as in meta-analyses of
    publications (Cochrane Handbook 6.3.2).
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
    """Return the indirect effect of the first treatment against the second, by their common control.

    It is the difference of the two effects, of ratios on the log scale; the variances add up. Standard errors
    come from the printed intervals, as in ``pool``. Source: Bucher et al. 1997.
    """
    ratio = measure != "mean difference"
    with localcontext(_PRECISION):
        (a, error_a), (b, error_b) = (_printed(effect, ratio) for effect in (first, second))
        return _interval(a - b, (error_a * error_a + error_b * error_b).sqrt(), ratio)


def _printed(effect: Effect, ratio: bool) -> tuple[Decimal, Decimal]:
    """Return a printed effect on the additive scale, with its standard error."""
    value, low, high = (_log(x) if ratio else x for x in (effect.value, effect.low, effect.high))
    return value, (high - low) / (2 * _Z)
