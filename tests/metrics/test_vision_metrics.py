"""Answers about pictures: what is read out of a reply, what is not; MATH-Vision's stored decisions."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest

from evalkit.errors import MetricError
from evalkit.metrics import closed_accuracy, count_within, exact_match, math_answer, only, token_recall
from evalkit.metrics.latex import value_of
from evalkit.metrics.vision import math_equal, read_math
from evalkit.reading.answers import read_number, read_yes_no
from evalkit.types import Answer, Sample, Status


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("**Yes**", "yes"),
        ("Answer: No", "no"),
        ("The answer is yes.", "yes"),
        ("Yes, there is no fluid.", "yes"),
        ("No - yes would be wrong", "no"),
        ("Yes\nbecause no air is seen", "yes"),
        ("There is no evidence of a fracture", "no"),
        ("I would say yes", "yes"),
        ("yes or no", None),
        ("Yes and no", None),
        ("", None),
        ("maybe", None),
        ("Yesterday", None),
        ("It is not known", None),
        ("nodule", None),
        ("yes/no", None),
    ],
)
def test_yes_and_no(reply: str, read: str | None) -> None:
    assert read_yes_no(reply) == read


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("3", 3),
        ("There are 3 cells.", 3),
        ("three", 3),
        ("I count twelve of them", 12),
        ("1,204", 1204),
        ("3.5", 3.5),
        ("-2", -2),
        ("No platelets", 0),
        ("3, that is 3", 3),
        ("Of 12 cells, the answer is 3", 3),
        ("Answer: 7\n", 7),
        ("In 2 of 9", None),
        ("1 or 2", None),
        ("many", None),
        ("", None),
        ("x3y", None),
    ],
)
def test_numbers(reply: str, read: float | None) -> None:
    assert read_number(reply) == read


@pytest.mark.parametrize(
    ("target", "reply", "score"),
    [
        ("yes", "Yes.", 1),
        ("Yes", "No", 0),
        ("no", "There is no mass.", 1),
        ("yes", "", 0),
        ("yes", "A", 0),
        ("Left", "left", 1),
        ("Left side", "The left side.", 1),
        ("PA", "AP", 0),
        ("Left", "left or right", 0),
        ("both", "Answer: both", 1),
    ],
)
def test_closed_accuracy(target: str, reply: str, score: float) -> None:
    assert closed_accuracy()(Sample("1", "?", target), Answer(text=reply)) == score


def test_token_recall() -> None:
    sample = Sample("1", "Where?", ("the right upper lobe", "apex"))
    assert token_recall()(sample, Answer(text="In the upper lobe.")) == pytest.approx(2 / 3)
    assert token_recall()(sample, Answer(text="At the apex of it")) == 1.0
    assert token_recall()(Sample("1", "?", "no no"), Answer(text="no")) == 0.5, (
        "a word counts as often as it occurs"
    )
    assert token_recall()(sample, Answer(text="")) == 0.0
    assert token_recall()(Sample("1", "?"), Answer(text="x")) is None


def test_count_within() -> None:
    sample = Sample("1", "How many?", "5", metadata={"tolerance": 1})
    for reply, score in (("5", 1), ("about 4", 1), ("6", 1), ("3", 0), ("", 0), ("4 or 5", 0)):
        assert count_within()(sample, Answer(text=reply)) == score
    assert count_within()(Sample("1", "?", "5"), Answer(text="4")) == 0.0
    with pytest.raises(MetricError, match="'many' is not a number"):
        count_within()(Sample("1", "?", "many"), Answer(text="4"))


def test_only_applies_to_its_slice_and_says_so() -> None:
    m = only(exact_match(), kind="open", organ="chest")
    assert m.name == "exact_match[kind=open,organ=chest]"
    assert only(exact_match(), "open_exact", kind="open").name == "open_exact"
    right = Sample("1", "?", "x", slices={"kind": "open", "organ": "chest"})
    assert m(right, Answer(text="x")) == 1.0
    assert m(right, Answer(text="x"), Status.TRUNCATED) == 0.0
    assert m(Sample("1", "?", "x", slices={"kind": "open"}), Answer(text="x")) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("\\frac{3}{8}", 0.375),
        ("\\frac12", 0.5),
        ("2\\sqrt{5}-1", 2 * math.sqrt(5) - 1),
        ("\\sqrt[3]{8}", 2),
        ("6\\pi", 6 * math.pi),
        ("3:2", 1.5),
        ("-2^2", -4),
        ("2^{-1}", 0.5),
        ("4(3-2\\sqrt{2})", 4 * (3 - 2 * math.sqrt(2))),
        ("\\dfrac{1}{2}+.5", 1),
        ("2\\cdot3", 6),
        ("1/0", None),
        ("x", None),
        ("", None),
        ("2^{9999}", None),
        ("(1", None),
        ("__import__('os')", None),
        ("9" * 500, None),
        ("(-1)^{.5}", None),
        ("(" * 150, None),
    ],
)
def test_values_of_latex(text: str, value: float | None) -> None:
    assert value_of(text) == (pytest.approx(value) if value is not None else None)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("\\boxed{B}", 1),
        ("So \\boxed{\\frac{3}{8}}.", 1),
        ("The answer is (B).", 1),
        ("0.375", 1),
        ("3/8", 1),
        ("First \\boxed{A}, no: \\boxed{B}", 1),
        ("b", 1),
        ("$\\frac{3}{8}$", 1),
        ("Answer: **B**", 1),
        ("A", 0),
        ("", 0),
        ("B or C", 0),
        ("I think\nit is B or so", 0),
        ("\\boxed{}", 0),
        ("0.5", 0),
        ("C", 0),
    ],
)
def test_math_answer(reply: str, score: float) -> None:
    sample = Sample("1", "?", "B", choices=("$\\frac{1}{4}$", "$\\frac{3}{8}$", "$\\text{B}$"))
    assert math_answer()(sample, Answer(text=reply)) == score


def test_math_vision_as_its_authors_decided(data: Path) -> None:
    """18,240 stored decisions over six models, from the extracted answers and from the raw replies."""
    with gzip.open(data / "math_v" / "questions.jsonl.gz", "rt") as file:
        samples = {
            row["id"]: Sample(row["id"], "", row["answer"], choices=tuple(row["options"]))
            for row in map(json.loads, file)
        }
    published = json.loads((data / "math_v" / "published.json").read_text())
    metric, same, raw_same, n = math_answer(), 0, 0, 0
    right: dict[str, float] = dict.fromkeys(published, 0.0)
    with gzip.open(data / "math_v" / "predictions.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            sample = samples[row["id"]]
            boxed = metric(sample, Answer(text=f"\\boxed{{{row['extracted']}}}"))
            raw = metric(sample, Answer(text=row["response"]))
            same += boxed == row["correct"]
            raw_same += raw == row["correct"]
            right[row["system"]] += raw or 0
            n += 1
    assert n == 18240
    assert same / n > 0.998
    assert raw_same / n > 0.996
    for system, points in right.items():
        assert 100 * points / 3040 == pytest.approx(published[system]["accuracy"], abs=0.6), system


def test_reading_keeps_to_what_is_marked() -> None:
    assert read_math("long text\nwithout an answer in it") is None
    assert read_math("x \\boxed{a{b}c} y") == "a{b}c"
    assert read_math("The answer is 12. Then some more.") == "12"
    assert not math_equal("", "")
    assert math_equal("3 : 2", "\\frac{3}{2}")
    assert math_equal("45^\\circ", "45")
