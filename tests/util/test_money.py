"""Amounts of US dollars as people read them."""

from __future__ import annotations

import pytest

from evalkit.util.money import dollars


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "unknown price"),
        (0, "$0"),
        (1240.4, "$1,240"),
        (1.2349, "$1.23"),
        (0.1, "$0.10"),
        (0.0999, "$0.1"),
        (0.00312, "$0.0031"),
        (4e-7, "$0.0000004"),
        (3.25e-11, "$0.000000000032"),
        (1e-12, "$0.000000000001"),
    ],
)
def test_no_amount_is_shown_as_nothing(amount: float | None, text: str) -> None:
    assert dollars(amount) == text
