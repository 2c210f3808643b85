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


def score_index(answer, choice, choices=DRUGS):
    sample = Sample("s7", "q", choices=choices, answer=answer)
    return accuracy()(sample, Answer(text="…", choice=choice), Status.OK)


@pytest.mark.parametrize("target", ["insulin", "B", "1"])
def test_a_target_is_the_text_the_letter_or_the_index(target):
    assert [score(target, i) for i in range(3)] == [0.0, 1.0, 0.0]


def test_an_index_is_right_whatever_the_options_say():
    assert [score_index(1, i, choices=("B", "A")) for i in range(2)] == [0.0, 1.0]
    assert [score_index(0, i, choices=("1", "0", "2")) for i in range(3)] == [1.0, 0.0, 0.0]
    assert [score_index((0, 2), i) for i in range(3)] == [1.0, 0.0, 1.0]
    assert [score_index([0, 2], i) for i in range(3)] == [1.0, 0.0, 1.0]


def test_of_twin_options_the_one_with_the_letter_is_right():
    """MedMCQA's official score compares letters, also where two options have the same text."""
    twins = ("none", "all", "none")
    assert [score_index(2, i, choices=twins) for i in range(3)] == [0.0, 0.0, 1.0]
    assert [score("C", i, choices=twins) for i in range(3)] == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("target", "choices", "message"),
    [
        ("A", ("B", "A"), r"the target 'A' can mean choice 0 or choice 1 .*; give answer=0 or answer=1"),
        ("1", ("1", "0"), r"the target '1' can mean choice 0 or choice 1"),
        ("2", ("1", "2", "3"), r"the target '2' can mean choice 1 or choice 2"),
        ("none", ("none", "all", "none"), r"the target 'none' can mean choice 0 or choice 2"),
        ("yes", ("yes",), r"has one choice, 'yes'; give at least two"),
    ],
)
def test_a_target_that_can_mean_two_options_is_refused(target, choices, message):
    with pytest.raises(MetricError, match=f"sample 's7'.*{message}"):
        score(target, 0, choices=choices)


@pytest.mark.parametrize(
    ("target", "choices"), [("A", ("A", "B")), ("1", ("0", "1")), ("3", ("1", "2", "3"))]
)
def test_a_target_whose_readings_agree_is_clear(target, choices):
    assert sum(score(target, i, choices=choices) for i in range(len(choices))) == 1.0
    assert score(target, choices.index(target), choices=choices) == 1.0


@pytest.mark.parametrize("answer", [3, -1, (0, 7), "B", ("A",)])
def test_an_answer_that_is_no_index_is_an_error(answer):
    with pytest.raises(MetricError, match=r"sample 's7': answer=.* is no index of its 3 choices"):
        score_index(answer, 0)


def test_several_targets():
    assert [score(("A", "metformin"), i) for i in range(3)] == [1.0, 0.0, 1.0]


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
        answer = letters.index(question["answer"])
        assert score_index(answer, choice, choices=choices) == float(row["correct"]), row["id"]
    system = rows[0]["system"]
    right = [float(row["correct"]) for row in rows if row["system"] == system]
    p, n = sum(right) / len(right), len(right)
    assert estimate(right).se == pytest.approx((p * (1 - p) / (n - 1)) ** 0.5)
