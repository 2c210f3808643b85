"""Calibration of multiple choice: is a model right as often as it is sure?

Both metrics read ``answer.metadata["probabilities"]``, one probability for each of ``sample.choices``.
``answer_choice`` records them where it compares likelihoods; elsewhere the metrics do not apply.
Both are facts about the probabilities: a reply without a choice (two options with equal scores) has a value
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from evalkit.errors import MetricError, UsageError
from evalkit.facts import Chosen, read
from evalkit.metric import Metric
from evalkit.metrics.choice import right_options
from evalkit.types import Answer, Sample


def brier() -> Metric:
    """Return ``brier``: Σ over the options of (probability − 1 if right else 0)², from 0 (perfect) to 2.

    Where several options are right, they share the 1 equally. Source: Brier 1950, the multi-class form.
    """
    return Metric(
        "brier",
        _brier,
        high=2.0,
        higher_is_better=False,
        kind="fact",
        help="multi-class Brier score",
        version=2,
        check_sample=right_options,
    )


def expected_calibration_error(bins: int = 10) -> Metric:
    """Return ``ece[bins=10]``: Σ over the bins b of n_b/n · |accuracy_b − confidence_b|.

    Confidence is the probability of the likeliest option, in ``bins`` of equal width, (0, 1/bins] first.
    A sample's own value is its confidence, negative where that option is wrong; a run's value is computed
    from these. Source: Naeini et al. 2015; Guo et al. 2017. Raises ``UsageError`` for fewer than one bin.
    """
    if bins < 1:
        raise UsageError(f"expected_calibration_error: bins is {bins}, but must be at least 1")
    return Metric(
        f"ece[bins={bins}]",
        _signed_confidence,
        higher_is_better=False,
        kind="fact",
        help=f"expected calibration error in {bins} bins of equal width",
        aggregate=partial(_ece, bins),
        version=2,
        check_sample=right_options,
    )


def _brier(sample: Sample, answer: Answer) -> float | None:
    probabilities = _probabilities(sample, answer)
    if probabilities is None:
        return None
    right = right_options(sample)
    share = 1 / len(right)
    return sum((p - (share if i in right else 0.0)) ** 2 for i, p in enumerate(probabilities))


def _signed_confidence(sample: Sample, answer: Answer) -> float | None:
    probabilities = _probabilities(sample, answer)
    if probabilities is None:
        return None
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    # Two options with the highest probability are no choice, which counts as wrong.
    is_choice = probabilities.count(probabilities[best]) == 1
    return probabilities[best] if is_choice and best in right_options(sample) else -probabilities[best]


def _ece(bins: int, signed: Sequence[float]) -> float:
    values = np.asarray(signed, dtype=np.float64)
    confidence, right = np.abs(values), values > 0
    bin_numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_numbers, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(values))


def _probabilities(sample: Sample, answer: Answer) -> list[float] | None:
    found = read(answer, Chosen).probabilities
    if found is None:
        return None
    probabilities = [float(p) for p in found]
    if (
        len(probabilities) != len(sample.choices)
        or abs(sum(probabilities) - 1) > 1e-6
        or min(probabilities) < 0
    ):
        raise MetricError(
            f"sample {sample.id!r}: {probabilities} is no distribution over its {len(sample.choices)} choices"
        )
    return probabilities
