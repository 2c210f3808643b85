"""Calibration: hand calculations, independent libraries, and the run's value with its interval."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.errors import MetricError, UsageError
from evalkit.metrics import brier, expected_calibration_error
from evalkit.stats import bootstrap
from evalkit.types import Answer, Sample, Status

DRUGS = ("aspirin", "insulin", "metformin")


def answer(*probabilities: float) -> Answer:
    return Answer(text="", choice=0, metadata={"probabilities": list(probabilities)})


def sample(target: str = "A") -> Sample:
    return Sample("s", "q", target, choices=DRUGS)


def ece(pairs, bins=10) -> float:
    """Of (confidence, right) pairs, through the metric and what it makes of a run's values."""
    metric = expected_calibration_error(bins)
    two = ("yes", "no")
    values = [
        metric(Sample("s", "q", "A" if right else "B", choices=two), answer(confidence, 1 - confidence))
        for confidence, right in pairs
    ]
    return metric.aggregate(values)


def test_brier_by_hand():
    assert brier()(sample(), answer(1, 0, 0)) == 0.0
    assert brier()(sample(), answer(0, 1, 0)) == 2.0
    assert brier()(sample(), answer(0.7, 0.2, 0.1)) == pytest.approx(0.09 + 0.04 + 0.01)
    assert brier()(sample("C"), answer(1 / 3, 1 / 3, 1 / 3)) == pytest.approx(2 / 3)
    both = Sample("s", "q", ("A", "B"), choices=DRUGS)
    assert brier()(both, answer(0.5, 0.5, 0)) == 0.0


def test_brier_equals_lm_evals():
    metrics = pytest.importorskip("lm_eval.api.metrics")
    generator = np.random.default_rng(1)
    table = generator.dirichlet(np.ones(3), size=50)
    gold = generator.integers(3, size=50)
    ours = [brier()(sample("ABC"[g]), answer(*row)) for g, row in zip(gold, table, strict=True)]
    theirs = metrics.brier_score([(int(g), row) for g, row in zip(gold, table, strict=True)])
    assert np.mean(ours) == pytest.approx(theirs)


def test_ece_by_hand():
    assert ece([(1.0, True)]) == 0.0
    assert ece([(1.0, False)]) == 1.0
    # one bin (0.8, 0.9]: two of four right at 0.85; one bin (0.5, 0.6]: both right at 0.55
    pairs = [(0.85, True), (0.85, True), (0.85, False), (0.85, False), (0.55, True), (0.55, True)]
    assert ece(pairs) == pytest.approx((4 * 0.35 + 2 * 0.45) / 6)
    assert ece(pairs, bins=1) == pytest.approx(abs(4 / 6 - (4 * 0.85 + 2 * 0.55) / 6))
    assert ece([(0.6, True), (0.61, False)], bins=10) == pytest.approx((0.4 + 0.61) / 2), "0.6 ends its bin"
    assert expected_calibration_error(15).name == "ece[bins=15]"


def test_ece_equals_an_independent_binning():
    generator = np.random.default_rng(2)
    confidence = generator.uniform(0.5, 1, size=500)
    right = generator.uniform(size=500) < confidence**2
    expected = 0.0
    for low in np.arange(0, 1, 0.05):
        inside = (confidence > low) & (confidence <= low + 0.05)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert ece(list(zip(confidence, right, strict=True)), bins=20) == pytest.approx(expected)


def test_they_apply_where_the_method_gives_probabilities_and_only_there():
    for metric in (brier(), expected_calibration_error()):
        assert metric(sample(), Answer(text="A", choice=0)) is None
        with pytest.raises(MetricError, match="is no distribution over its 3 choices"):
            metric(sample(), answer(0.5, 0.5))
        with pytest.raises(MetricError, match="is no distribution"):
            metric(sample(), answer(0.5, 0.1, 0.1))
    with pytest.raises(UsageError, match="bins is 0"):
        expected_calibration_error(0)


def test_level_probabilities_are_not_right():
    level = answer(0.4, 0.4, 0.2)
    assert expected_calibration_error()(sample(), level, Status.UNPARSED) == -0.4
    assert brier()(sample(), level, Status.UNPARSED) == pytest.approx(0.36 + 0.16 + 0.04)


def test_the_interval_of_a_value_that_is_no_mean():
    metric = expected_calibration_error()
    generator = np.random.default_rng(3)
    values = [float(v) for v in generator.choice([-1, 1], size=300) * generator.uniform(0.3, 1, size=300)]
    found = bootstrap(values, metric.aggregate)
    assert found == bootstrap(values, metric.aggregate), "seeded"
    assert found.value == metric.aggregate(values)
    assert (found.method, found.n, found.clusters) == ("bootstrap", 300, None)
    assert found.ci[0] < found.value < found.ci[1]
    mean = bootstrap(values, lambda v: float(np.mean(v)))
    assert mean.se == pytest.approx(np.std(values, ddof=1) / 300**0.5, rel=0.1)


def test_one_sample_or_one_cluster_determines_nothing():
    metric = expected_calibration_error()
    for values, clusters in ([0.9], None), ([0.9, -0.4], ["one", "one"]):
        found = bootstrap(values, metric.aggregate, clusters=clusters, low=0.0, high=1.0)
        assert (found.method, found.ci) == ("undetermined", (0.0, 1.0))


def test_clusters_are_resampled_whole():
    values = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0] * 10
    clusters = [str(i // 4) for i in range(80)]
    alone = bootstrap(values, lambda v: float(np.mean(v)))
    whole = bootstrap(values, lambda v: float(np.mean(v)), clusters=clusters)
    assert whole.clusters == 20
    assert whole.se == pytest.approx(2 * alone.se, rel=0.15), "four equal values are one observation"


def test_a_run_reports_it_and_its_slices_by_the_same_rule(evalkit):
    """Through the command: the run's value is not the mean of the samples' values, nor is a slice's."""
    (evalkit.folder / "task_sure.py").write_text(
        "from evalkit import Answer, Sample, task\n"
        "from evalkit.metrics import accuracy, brier, expected_calibration_error\n"
        "S = [Sample(str(i), 'q', 'A' if i % 4 else 'B', choices=('yes', 'no'),\n"
        "     slices={'half': str(i // 20)})\n"
        "     for i in range(40)]\n"
        "@task(S, metrics=[accuracy(), brier(), expected_calibration_error(5)])\n"
        "async def sure(sample, model):\n"
        "    return Answer(text='A', choice=0, metadata={'probabilities': [0.95, 0.05]})\n"
    )
    (run,) = evalkit.json("run", "task_sure.py", "--model", "baseline:empty")["runs"]
    found = run["metrics"]["ece[bins=5]"]
    assert (found["value"], found["method"]) == (pytest.approx(0.2), "bootstrap")
    assert run["metrics"]["brier"]["value"] == pytest.approx(2 * (0.75 * 0.05**2 + 0.25 * 0.95**2))
    assert run["slices"]["half=0"]["ece[bins=5]"]["value"] == pytest.approx(0.2)
