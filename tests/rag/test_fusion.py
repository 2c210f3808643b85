"""Reciprocal rank fusion, by hand."""

from __future__ import annotations

import pytest

from evalkit.rag.fusion import fuse


def test_reciprocal_ranks_are_summed() -> None:
    rows, sums = fuse([[4, 7, 9], [7, 1]], k=10)
    assert rows == [7, 4, 1, 9]
    assert sums == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])


def test_equal_sums_go_by_entry() -> None:
    assert fuse([[5, 2], [2, 5], [8], [3]], k=3)[0] == [2, 5, 3]
    assert fuse([["z"], ["y"]], k=1) == (["y"], [1 / 61])
