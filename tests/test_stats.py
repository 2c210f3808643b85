"""Estimates against hand calculations, scipy, and what an interval promises."""

import math
import random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import expected_calibration_error, macro_f1
from evalkit.stats import (
    bootstrap,
    combined,
    estimate,
    holm,
    incomplete_bounds,
    p_value,
    paired,
    t_quantile,
)

INF = math.inf
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def test_student_by_hand():
    # values 2, 4, 6: mean 4, sd = √((4+0+4)/2) = 2, se = 2/√3 = 1.1547; t(0.975, 2) = 4.3027 (tables)
    made = estimate([2, 4, 6])
    assert (made.value, made.n, made.method, made.clusters, made.level) == (4.0, 3, "t", None, 0.95)
    assert made.se == pytest.approx(1.1547, abs=1e-4)
    assert made.ci == pytest.approx((4 - 4.9683, 4 + 4.9683), abs=1e-3)


def test_the_interval_is_cut_at_the_range():
    assert estimate([2, 4, 6], low=0).ci == pytest.approx((0, 8.9683), abs=1e-3)
    assert estimate([2, 4, 6], low=0, high=7).ci == (0, 7)


def test_wilson_by_hand():
    # 8 of 10: z = 1.95996, z² = 3.84146; centre (0.8 + 0.192073)/1.384146 = 0.716740,
    # reach 1.95996·√(0.016 + 0.0096036)/1.384146 = 0.226577
    made = estimate([1] * 8 + [0] * 2, low=0, high=1)
    assert made.method == "wilson"
    assert made.ci == pytest.approx((0.490163, 0.943317), abs=1e-5)
    assert made.se == pytest.approx(math.sqrt(0.16 * 10 / 9 / 10))


def test_wilson_equals_scipy():
    for right, n in [(0, 5), (1, 2), (50, 50), (123, 500)]:
        for level in (0.9, 0.95, 0.99):
            expected = scipy.stats.binomtest(right, n).proportion_ci(level, method="wilson")
            made = estimate([1.0] * right + [0.0] * (n - right), level=level)
            assert made.ci == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_all_right_is_not_certain():
    made = estimate([1.0] * 20, low=0, high=1)
    assert made.ci[0] == pytest.approx(0.8389, abs=1e-4)
    assert made.ci[1] == pytest.approx(1.0)


def test_zero_and_one_of_another_range_are_no_proportion():
    assert estimate([0, 1, 1, 0], low=0, high=None).method == "t"
    assert estimate([0, 1, 1, 0], low=0, high=10).method == "t"


def test_clustered_by_hand():
    # mean 3.5; deviations -2.5 -1.5 | -0.5 1.5 | 3.0 of a: 1, 2; b: 3, 5; c: 6.5
    # cluster sums -4, 1, 3: squares 16 + 1 + 9 = 26; se² = 3/2 · 26 / 25 = 1.56
    # t(0.975, 2) = 4.30265: reach 4.30265 · 1.2490 = 5.37401
    made = estimate([1, 2, 3, 5, 6.5], clusters=["a", "a", "b", "b", "c"])
    assert (made.method, made.clusters, made.n) == ("clustered t", 3, 5)
    assert made.se == pytest.approx(math.sqrt(1.56))
    assert made.ci == pytest.approx((3.5 - 5.37401, 3.5 + 5.37401), abs=1e-4)


def test_a_sample_without_cluster_stands_alone():
    named = estimate([1, 2, 3, 5, 6.5], clusters=["a", "a", "b", "c", "d"])
    assert estimate([1, 2, 3, 5, 6.5], clusters=["a", "a", None, None, None]) == named
    assert estimate([1, 2, 3], clusters=[None] * 3) == estimate([1, 2, 3])


@given(values=SCORES)
def test_clusters_of_one_change_nothing(values):
    assert estimate(values, clusters=[str(i) for i in range(len(values))]) == estimate(values)


@given(values=SCORES)
def test_asking_each_question_twice_adds_no_certainty(values):
    once = estimate(values)
    twice = estimate(values * 2, clusters=[str(i) for i in range(len(values))] * 2)
    assert twice.se == pytest.approx(once.se, abs=1e-12)


def test_clustered_zero_one_data_without_spread_is_not_certain():
    made = estimate([1.0] * 20, clusters=[str(i // 5) for i in range(20)], low=0, high=1)
    assert (made.method, made.clusters) == ("wilson over clusters", 4)
    assert made.ci == pytest.approx(estimate([1.0] * 4).ci)


@pytest.mark.parametrize("kwargs", [{}, {"clusters": ["a"]}])
def test_one_sample_tells_nothing_of_the_spread(kwargs):
    assert estimate([0.5], low=0, high=1, **kwargs).ci == (0, 1)
    made = estimate([0.5], **kwargs)
    assert (made.value, made.se, made.ci, made.method) == (0.5, INF, (-INF, INF), "undetermined")


def test_one_cluster_tells_nothing_of_the_spread():
    made = estimate([0, 1, 1], clusters=["a"] * 3, low=0, high=1)
    assert (made.se, made.ci, made.clusters, made.method) == (INF, (0, 1), 1, "undetermined")


@pytest.mark.parametrize(
    ("values", "kwargs", "message"),
    [
        ([], {}, "no values"),
        ([1.0, math.nan], {}, "not finite"),
        ([1.0, INF], {}, "not finite"),
        ([1.0, 2.0], {"level": 95}, "level is 95"),
        ([1.0, 2.0], {"clusters": ["a"]}, "1 clusters for 2 values"),
    ],
)
def test_what_cannot_be_estimated(values, kwargs, message):
    with pytest.raises(ValueError, match=message):
        estimate(values, **kwargs)


@given(
    values=st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=40),
    groups=st.integers(1, 50),
)
def test_an_interval_holds_its_mean_and_stays_in_the_range(values, groups):
    for clusters in (None, [str(i % groups) for i in range(len(values))]):
        made = estimate(values, clusters=clusters, low=0, high=1)
        assert 0 <= made.ci[0] <= made.value + 1e-12
        assert made.value - 1e-12 <= made.ci[1] <= 1


def test_intervals_cover_as_often_as_they_promise():
    rng = np.random.default_rng(7)
    runs, covered = 2000, {"wilson": 0, "t": 0, "clustered t": 0}
    for _ in range(runs):
        # thirty clusters of five: the mean of a cluster varies, so the samples in it are not independent
        clustered = (rng.normal(0, 1, 30)[:, None] + rng.normal(0, 1, (30, 5))).ravel()
        for made, truth in (
            (estimate((rng.random(40) < 0.9).astype(float)), 0.9),
            (estimate(rng.normal(3, 2, 8)), 3),
            (estimate(clustered, clusters=[str(i // 5) for i in range(150)]), 0),
        ):
            covered[made.method] += made.ci[0] <= truth <= made.ci[1]
    assert {method: hits / runs for method, hits in covered.items()} == pytest.approx(
        dict.fromkeys(covered, 0.95), abs=0.02
    )


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 10, 29, 100, 101, 150, 1000, 10**6])
def test_thet_quantile_equals_scipys(df):
    for level in (0.8, 0.9, 0.95, 0.99):
        p = (1 + level) / 2
        assert t_quantile(p, df) == pytest.approx(scipy.stats.t.ppf(p, df), rel=1e-8)


def test_bounds_of_an_incomplete_run_by_hand():
    # two scores of 1 and 0.5, two missing in [0, 1]: between 1.5/4 and 3.5/4
    assert incomplete_bounds([1.0, 0.5], 2, 0, 1) == (0.375, 0.875)
    assert incomplete_bounds([1.0, 0.5], 0, 0, 1) == (0.75, 0.75)
    assert incomplete_bounds([4.0], 1, 0, None) == (2.0, INF)
    assert incomplete_bounds([4.0], 1, None, None) == (-INF, INF)
    assert incomplete_bounds([], 3, 0, 1) == (0, 1)
    with pytest.raises(ValueError, match="no values"):
        incomplete_bounds([], 0, 0, 1)


def test_bounds_hold_the_mean_of_whatever_was_missing():
    rng = random.Random(3)
    for _ in range(200):
        scores = [rng.random() for _ in range(rng.randint(1, 20))]
        seen = scores[: rng.randint(0, len(scores))]
        low, high = incomplete_bounds(seen, len(scores) - len(seen), 0, 1)
        assert low - 1e-12 <= sum(scores) / len(scores) <= high + 1e-12


def test_paired_differences_have_their_own_error() -> None:
    """Against scipy's paired t; and by hand where samples share clusters."""
    a, b = [0.9, 0.4, 0.7, 1.0, 0.2, 0.8], [0.6, 0.5, 0.1, 0.9, 0.2, 0.3]
    found = paired(a, b, low=0, high=1)
    known = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.ci == pytest.approx((known.low, known.high))
    assert (found.n, found.method) == (6, "t")
    sums = [0.3 - 0.1, 0.6 + 0.1, 0.0 + 0.5]
    mean = sum(sums) / 6
    expected = math.sqrt(3 / 2 * sum((s - 2 * mean) ** 2 for s in sums)) / 6
    clustered = paired(a, b, clusters=["x", "x", "y", "y", "z", "z"], low=0, high=1)
    assert clustered.se == pytest.approx(expected)
    assert (clustered.clusters, clustered.method) == (3, "clustered t")


def test_pairs_that_do_not_differ_are_not_certain() -> None:
    same = paired([1.0, 0.0, 1.0] * 10, [1.0, 0.0, 1.0] * 10, low=0, high=1)
    z = 1.959963985
    assert (same.value, same.method) == (0.0, "unvaried")
    assert same.ci == pytest.approx((-z * z / (30 + z * z), z * z / (30 + z * z)))
    all_lost = paired([1.0] * 5, [0.0] * 5, low=0, high=1)
    assert all_lost.value == 1.0
    assert 0 < all_lost.ci[0] < 1.0 == all_lost.ci[1]
    assert paired([1.0] * 5, [1.0] * 5).ci == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="2 and 1 values are not pairs"):
        paired([1.0, 2.0], [1.0])


def test_equal_scores_between_the_ends_of_the_range_are_not_certain() -> None:
    made = estimate([0.5] * 20, low=0, high=1)
    unseen = 1.959963985**2 / (20 + 1.959963985**2)
    assert (made.value, made.se, made.method) == (0.5, 0.0, "unvaried")
    assert made.ci == pytest.approx((0.5 - unseen / 2, 0.5 + unseen / 2))
    assert estimate([0.1] * 7, low=0, high=1).method == "unvaried"  # also where the mean is rounded
    assert estimate([12.0] * 5, low=0).ci == (12.0, 12.0)  # without a range nothing can be said


def test_an_aggregate_of_right_answers_alone_is_as_uncertain_as_their_share() -> None:
    cells = [0.0, 4.0] * 10  # right yes, right no
    made = bootstrap(cells, macro_f1().aggregate, low=0, high=1)
    share = estimate([1.0] * 20, low=0, high=1)
    assert (made.value, made.ci, made.method) == (1.0, pytest.approx(share.ci), "bootstrap")
    clustered = bootstrap(
        cells, macro_f1().aggregate, clusters=[str(i // 4) for i in range(20)], low=0, high=1
    )
    assert clustered.ci[0] == pytest.approx(estimate([1.0] * 5, low=0, high=1).ci[0])
    assert bootstrap([0.0] * 20, macro_f1().aggregate, low=0, high=1).ci[0] < 0.5  # no label but yes
    assert bootstrap([2.0] * 9, max).ci == (-INF, INF)


def test_an_aggregate_that_is_undefined_says_so() -> None:
    def share_of_ones(values):  # undefined where a resample holds no zero
        return sum(values) / (len(values) - sum(values)) if 0 in values else math.nan

    made = bootstrap([0.0, 1.0, 1.0], share_of_ones, low=0, high=10)
    assert all(map(math.isfinite, (*made.ci, made.se)))
    nothing = bootstrap([1.0, 1.0], share_of_ones, low=0, high=10)
    assert (nothing.method, nothing.ci) == ("undetermined", (0, 10))


@pytest.mark.parametrize(("gap", "n", "least"), [(0.1, 50, 0.85), (0.2, 50, 0.85)])
def test_calibration_errors_are_covered_and_lie_in_their_own_interval(gap, n, least) -> None:
    ece, rng, covered, runs = expected_calibration_error().aggregate, np.random.default_rng(3), 0, 30
    for _ in range(runs):
        confidence = rng.uniform(0.5, 0.999, n)
        right = rng.random(n) < confidence - gap
        made = bootstrap(np.where(right, confidence, -confidence), ece, low=0, high=1)
        assert made.ci[0] <= made.value <= made.ci[1]
        covered += made.ci[0] <= gap <= made.ci[1]
    assert covered / runs >= least


def test_macro_f1_is_covered_as_often_as_promised() -> None:
    aggregate, rng, runs = macro_f1().aggregate, np.random.default_rng(4), 30

    def cells(n):
        label = (rng.random(n) < 0.4).astype(int)
        return label * 3 + np.where(rng.random(n) < 0.9, label, 1 - label)

    truth = aggregate(cells(200_000))
    intervals = [bootstrap(cells(40), aggregate, low=0, high=1).ci for _ in range(runs)]
    assert sum(low <= truth <= high for low, high in intervals) / runs >= 0.9


def test_parts_are_combined_by_hand() -> None:
    whole, none = estimate([1.0] * 6, low=0, high=1), estimate([0.0] * 2, low=0, high=1)
    made = combined([whole, none], [6, 2])
    assert (made.value, made.n, made.method) == (0.75, 8, "combined")
    assert made.ci == pytest.approx((0.75 - 0.75 * (1 - whole.ci[0]), 0.75 + 0.25 * none.ci[1]))
    assert combined([whole, none], [1, 1]).value == 0.5
    assert combined([whole], [1]).ci == pytest.approx(whole.ci)
    with pytest.raises(ValueError, match="no estimates"):
        combined([], [])


def test_combined_parts_cover_as_often_as_they_promise() -> None:
    rng, runs, covered = np.random.default_rng(5), 1000, 0
    for _ in range(runs):
        parts = [
            estimate((rng.random(n) < p).astype(float), low=0, high=1)
            for n, p in ((12, 0.95), (20, 0.6), (8, 0.1))
        ]
        low, high = combined(parts, [12, 20, 8]).ci
        covered += low <= (12 * 0.95 + 20 * 0.6 + 8 * 0.1) / 40 <= high
    assert 0.93 <= covered / runs <= 0.99


@pytest.mark.parametrize("n", [3, 40, 101, 102, 400])
def test_p_values_are_those_of_scipys_paired_t_test(n) -> None:
    rng = np.random.default_rng(n)
    a = rng.random(n)
    b = a + rng.normal(0.02, 0.1, n)
    assert p_value(paired(a, b), None, None) == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, abs=1e-8)


def test_p_values_where_all_differences_are_equal() -> None:
    assert p_value(paired([1.0] * 4, [1.0] * 4, low=0, high=1), 0, 1) == 1
    for n in (3, 4, 5):  # the interval of n lost samples excludes 0 exactly where p is below 0.05
        lost = paired([1.0] * n, [0.0] * n, low=0, high=1)
        assert (p_value(lost, 0, 1) < 0.05) == (lost.ci[0] > 0)
    assert p_value(paired([1.0], [0.0], low=0, high=1), 0, 1) == 1


def test_holm_by_hand_and_its_promise() -> None:
    # 0.01 ≤ 0.05/4; 0.013 ≤ 0.05/3; 0.03 > 0.05/2, so neither it nor 0.04 falls
    assert holm([0.04, 0.01, 0.03, 0.013]) == [False, True, False, True]
    assert holm([]) == []
    rng = np.random.default_rng(6)
    wrong = sum(any(holm(list(rng.random(10)))) for _ in range(2000))
    assert wrong / 2000 <= 0.06
