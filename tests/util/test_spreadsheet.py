"""CSV files that a spreadsheet opens: no cell runs, and every value comes back."""

from __future__ import annotations

import csv
import io

import pytest

from evalkit.util.spreadsheet import to_csv


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_no_cell_is_a_formula(start: str) -> None:
    (row,) = csv.reader(io.StringIO(to_csv([f"{start}1+1"], []), newline=""))
    assert row == [f"'{start}1+1"]


def test_a_separator_of_another_country_begins_no_cell() -> None:
    assert to_csv(["a;=1+1"], [["b\t=1+1"]]) == '"a;=1+1"\n"b\t=1+1"\n'


def test_every_value_comes_back() -> None:
    rows = [["=1+1", -0.5], ["@x", None], ['a "b", c', 1.0], ["two\nlines", 0], ["-x", 2], ["plain", True]]
    read = list(csv.reader(io.StringIO(to_csv(["model", "score"], rows))))
    assert [row[0] for row in read] == ["model", "'=1+1", "'@x", 'a "b", c', "two\nlines", "'-x", "plain"]
    assert [row[1] for row in read] == ["score", "-0.5", "", "1.0", "0", "2", "True"]
