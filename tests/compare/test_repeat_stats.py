"""pass@k, maj@k and pass^k against all subsets; the parts of the variance against scipy and simulations."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from evalkit.compare.repeat_stats import VarianceSplit, majority_at, pass_all, pass_at, split_variance

ANSWERS = [
    (["4", "4", "5", "6", "4"], [1.0, 1.0, 0.0, 0.0, 1.0]),
    (["4", "5", "6", "7", "8"], [1.0, 0.0, 0.0, 0.0, 0.0]),  # every draw ends in a tie
    (["5", "5", "4", "4", None, None, "6"], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
    ([None, None, None, "4"], [0.0, 0.0, 0.0, 1.0]),
    (["4", "4", "four", "5", "5", "5", "6", None], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    (["4", "4", "4"], [1.0, 0.0, 1.0]),  # one vote whose answers score differently
]


def majority(votes: list[str | None], scores: dict[str, float]) -> float:
    """The score of one draw by hand: the mean over the answers with the most votes."""
    counts = Counter(vote for vote in votes if vote is not None)
    best = [vote for vote, n in counts.items() if n == max(counts.values())]
    return sum(scores[vote] for vote in best) / len(best) if best else 0.0


@pytest.mark.parametrize(("votes", "scores"), ANSWERS)
def test_each_number_is_the_mean_over_all_subsets(votes: list[str | None], scores: list[float]) -> None:
    n, right = len(votes), int(sum(scores))
    of_vote = {
        vote: float(np.mean([s for v, s in zip(votes, scores, strict=True) if v == vote]))
        for vote in votes
        if vote is not None
    }
    for k in range(1, n + 1):
        subsets = list(combinations(range(n), k))
        assert pass_at(k, n, right) == pytest.approx(np.mean([any(scores[i] for i in s) for s in subsets]))
        assert pass_all(k, n, right) == pytest.approx(np.mean([all(scores[i] for i in s) for s in subsets]))
        voted = np.mean([majority([votes[i] for i in s], of_vote) for s in subsets])
        assert majority_at(k, votes, scores) == pytest.approx(voted)


def test_the_estimates_of_k_are_unbiased() -> None:
    """Over runs of 6 answers, each right with the chance 0.3, they are on average those of 3 new answers."""
    rng = np.random.default_rng(0)
    right = rng.binomial(6, 0.3, 20_000).tolist()
    assert np.mean([pass_at(3, 6, c) for c in right]) == pytest.approx(1 - 0.7**3, abs=0.01)
    assert np.mean([pass_all(3, 6, c) for c in right]) == pytest.approx(0.3**3, abs=0.004)


def test_many_repeats_are_counted_exactly() -> None:
    """With two answers and an odd k, the majority is right where more than half of the draw is right."""
    votes, scores = ["a"] * 40 + ["b"] * 60, [1.0] * 40 + [0.0] * 60
    for k in (1, 15, 99):
        expected = stats.hypergeom(100, 40, k).sf(k // 2)
        assert majority_at(k, votes, scores) == pytest.approx(expected)


def split(scores: NDArray[np.float64], se: float = 0.1) -> VarianceSplit:
    """Of a table with a row for each sample."""
    samples = np.repeat(np.arange(len(scores)), scores.shape[1])
    found = split_variance(scores.ravel(), samples, samples, se)
    assert found is not None
    return found


def drawn(rng: np.random.Generator, a: float, b: float, samples: int, repeats: int) -> NDArray[np.float64]:
    """Answers right with a chance that each sample draws from a beta distribution."""
    chances = rng.beta(a, b, (samples, 1))
    return (rng.random((samples, repeats)) < chances).astype(float)


def test_the_parts_are_those_of_a_one_way_analysis_of_variance() -> None:
    scores = drawn(np.random.default_rng(1), 1, 1, 30, 5)
    ratio = float(stats.f_oneway(*scores).statistic)
    found = split(scores)
    assert found.sampling == pytest.approx(scores.var(axis=1, ddof=1).mean())
    assert found.questions == pytest.approx(found.sampling * (ratio - 1) / 5)
    assert found.share == pytest.approx(5 / (5 + ratio - 1))


def test_unequal_numbers_of_repeats_are_weighted() -> None:
    """Searle 1971: n₀ = (N − Σ nᵢ² / N) / (m − 1) takes the place of the number of repeats."""
    rows = [[1.0, 0.0, 1.0], [0.0, 0.0], [1.0, 1.0, 1.0, 0.0]]
    ratio = float(stats.f_oneway(*rows).statistic)
    within = sum(np.var(row) * len(row) for row in rows) / (9 - 3)
    samples = np.array([0] * 3 + [1] * 2 + [2] * 4)
    found = split_variance(np.array([x for row in rows for x in row]), samples, samples, 0.1)
    assert found is not None
    typical = (9 - (9 + 4 + 16) / 9) / 2
    assert found.sampling == pytest.approx(within)
    assert found.questions == pytest.approx(max(within * (ratio - 1) / typical, 0))


@pytest.mark.parametrize(("a", "b"), [(1, 1), (5, 2), (3000, 2000)])
def test_known_parts_are_found_without_bias_and_lie_in_the_interval(a: float, b: float) -> None:
    """The variance of a beta is ab / ((a + b)² (a + b + 1)); that of one answer is p (1 − p)."""
    rng, mean = np.random.default_rng(2), a / (a + b)
    questions = mean * (1 - mean) / (a + b + 1)
    sampling = mean * (1 - mean) - questions
    found = [split(drawn(rng, a, b, 60, 4)) for _ in range(300)]
    assert np.mean([one.sampling for one in found]) == pytest.approx(sampling, abs=0.003)
    if questions > 0.001:
        assert np.mean([one.questions for one in found]) == pytest.approx(questions, abs=0.003)
    share = sampling / (sampling + questions)
    intervals = [one.ci for one in found if one.ci]
    assert len(intervals) > 290
    assert 0.92 <= np.mean([low - 1e-3 <= share <= high for low, high in intervals]) <= 0.99


def test_the_error_for_other_numbers_of_repeats_is_that_of_such_runs() -> None:
    """From runs with 8 repeats, against runs with 1 repeat and against the samples' true chances."""
    rng = np.random.default_rng(3)
    chances = rng.beta(2, 2, (2000, 100))  # 2,000 runs of 100 samples
    of_eight = rng.binomial(8, chances) / 8
    one, endless = rng.binomial(1, chances).mean(axis=1).std(), chances.mean(axis=1).std()
    found = []
    for run in range(200):
        scores = (rng.random((100, 8)) < chances[run][:, None]).astype(float)
        means = scores.mean(axis=1)
        found.append(split(scores, se=means.std(ddof=1) / 10))
    assert np.mean([f.se for f in found]) == pytest.approx(of_eight.mean(axis=1).std(), rel=0.06)
    assert np.mean([f.se_of_one for f in found]) == pytest.approx(one, rel=0.06)
    assert np.mean([f.se_of_endless for f in found]) == pytest.approx(endless, rel=0.06)


def test_few_samples_whose_scores_vary_give_no_interval() -> None:
    scores = np.zeros((40, 4))
    scores[20:] = 1
    scores[:9, 0] = 1
    assert split(scores).ci is None
    scores[9, 0] = 1
    assert split(scores).ci is not None


def test_equal_scores_have_no_parts() -> None:
    samples = np.repeat(np.arange(5), 2)
    assert split_variance(np.ones(10), samples, samples, 0.0) is None
    assert split_variance(np.arange(5.0), np.arange(5), np.arange(5), 0.1) is None


def test_equal_repeats_are_no_sampling() -> None:
    found = split(np.repeat([[0.0], [1.0], [1.0]], 4, axis=1), se=0.3)
    assert (found.sampling, found.share, found.ci) == (0, 0, None)
    assert found.se_of_one == found.se_of_endless == pytest.approx(0.3)
