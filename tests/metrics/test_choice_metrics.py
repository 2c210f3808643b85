"""Accuracy of multiple choice: how a target names an option, and that nothing is guessed."""

import gzip
import json
import os
from pathlib import Path

import pytest

from evalkit.errors import MetricError
from evalkit.metrics import accuracy
from evalkit.stats import estimate
from evalkit.types import Answer, Sample, Status

DRUGS = ("aspirin", "insulin", "metformin")


def score(target, choice, choices=DRUGS, status=Status.OK):
    return accuracy()(Sample("s7", "q", target, choices=choices), Answer(text="…", choice=choice), status)


@pytest.mark.parametrize("target", ["insulin", "B", "1"])
def test_a_target_is_the_text_the_letter_or_the_index(target):
    assert [score(target, i) for i in range(3)] == [0.0, 1.0, 0.0]


def test_the_text_goes_before_letter_and_index():
    assert score("1", 0, choices=("1", "0")) == 1.0
    assert score("A", 1, choices=("B", "A")) == 1.0


def test_several_targets_and_equal_options():
    assert [score(("A", "metformin"), i) for i in range(3)] == [1.0, 0.0, 1.0]
    assert [score("none", i, choices=("none", "all", "none")) for i in range(3)] == [1.0, 0.0, 1.0]


def test_no_choice_is_wrong_and_not_option_a():
    assert score("A", None) == 0.0
    assert score("A", 0, status=Status.UNPARSED) == 0.0
    assert score("A", -3) == 0.0


@pytest.mark.parametrize("target", ["D", "3", "b", "Insulin", "", "-1", "²"])
def test_a_target_that_is_no_choice_is_an_error(target):
    with pytest.raises(
        MetricError, match=r"sample 's7': the target .* is not one of its choices \['aspirin'"
    ):
        score(target, 0)
    with pytest.raises(MetricError, match=r"is not one of its choices \[\]"):
        score("A", 0, choices=())


@pytest.mark.parametrize("dataset", ["mmlu", "medqa"])
def test_mirage_accuracy_equals_the_stored_flags(dataset):
    if "EVALKIT_DATA" not in os.environ:
        pytest.skip("EVALKIT_DATA is not set: it names the folder of real evaluation data")
    folder = Path(os.environ["EVALKIT_DATA"]) / "mirage"

    def read(name):
        lines = gzip.decompress((folder / name).read_bytes()).decode().split("\n")
        return [json.loads(line) for line in lines if line]

    questions = {q["id"]: q for q in read(f"{dataset}.questions.jsonl.gz")}
    rows = read(f"{dataset}.predictions.jsonl.gz")
    for row in rows:
        question = questions[row["id"]]
        letters = sorted(question["options"])
        choices = tuple(question["options"][letter] for letter in letters)
        choice = letters.index(row["parsed"]) if row["parsed"] in letters else None
        target = question["options"][question["answer"]]
        assert score(target, choice, choices=choices) == float(row["correct"]), row["id"]
    system = rows[0]["system"]
    right = [float(row["correct"]) for row in rows if row["system"] == system]
    p, n = sum(right) / len(right), len(right)
    assert estimate(right).se == pytest.approx((p * (1 - p) / (n - 1)) ** 0.5)
