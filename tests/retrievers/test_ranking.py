"""Order and fusion, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evalkit_retrievers.ranking import best, fuse
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 35))
def test_the_best_are_those_of_a_full_sort(scores: list[int], k: int) -> None:
    expected = sorted(enumerate(scores), key=lambda item: (-item[1], item[0]))[:k]
    assert best(np.array(scores, np.float32), k) == expected


def test_nothing_to_rank() -> None:
    assert best(np.zeros(0, np.float32), 3) == []


def test_reciprocal_ranks_are_summed() -> None:
    fused = fuse([[4, 7, 9], [7, 1]], k=10)
    assert [row for row, _ in fused] == [7, 4, 1, 9]
    assert [score for _, score in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])


def test_equal_sums_go_by_row() -> None:
    assert [row for row, _ in fuse([[5, 2], [2, 5], [8], [3]], k=3)] == [2, 5, 3]
