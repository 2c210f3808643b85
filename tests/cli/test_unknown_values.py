"""What a table says of values that are not known."""

from __future__ import annotations

import math

from evalkit.cli.failures import no_values
from evalkit.cli.output import cell
from evalkit.types import Estimate


def test_an_infinite_interval_is_said_to_be_undetermined() -> None:
    assert cell(Estimate(0.0, 0.0, (-math.inf, math.inf), 40, "t")) == "0.000 [undetermined]"
    assert cell(Estimate(0.5, 0.1, (0.3, 0.7), 40, "t")) == "0.500 [0.300, 0.700]"


def test_metrics_without_a_value_are_named_once_for_all_runs_of_a_task() -> None:
    two, one = ["mrr", "abstention"], ["mrr"]
    assert no_values([("t[arm=a]", two), ("t[arm=a]", two), ("t[arm=b]", one), ("u", [])]) == [
        "t[arm=a]: no value of mrr, abstention, since no sample has what they need.",
        "t[arm=b]: no value of mrr, since no sample has what it needs.",
    ]
