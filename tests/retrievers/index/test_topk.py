"""Order, by hand."""

from __future__ import annotations

import numpy as np
from evalkit_retrievers.index.topk import best, in_order
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 35))
def test_the_best_are_those_of_a_full_sort(scores: list[int], k: int) -> None:
    expected = sorted(enumerate(scores), key=lambda item: (-item[1], item[0]))[:k]
    rows, found = best(np.array(scores, np.float32), k)
    assert list(zip(rows, found, strict=True)) == expected


def test_nothing_to_rank() -> None:
    assert best(np.zeros(0, np.float32), 3) == ([], [])


@given(st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=5), st.data())
def test_ties_are_ordered_in_each_ranking_of_a_batch(scores: list[list[int]], data: st.DataObject) -> None:
    """As FAISS returns them: falling scores, ties in any order, -1 at the end where it found less."""
    batch, expected, k = [], [], data.draw(st.integers(1, 6))
    for row in scores:
        n = data.draw(st.integers(0, 6))
        names = data.draw(st.permutations(range(6)))[:n]
        found = sorted(zip(names, row, strict=False), key=lambda item: -item[1])
        expected.append(sorted(found, key=lambda item: (-item[1], item[0]))[:k])
        batch.append(found + [(-1, -np.inf)] * (6 - n))
    pairs = np.array(batch)
    rankings = in_order(pairs[:, :, 1].astype(np.float32), pairs[:, :, 0].astype(np.int64), k)
    assert [list(zip(*ranking, strict=True)) for ranking in rankings] == expected
