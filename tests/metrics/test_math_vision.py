"""The rule of MATH-Vision's authors: by hand from its source, and all decisions that they released."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from evalkit.metrics import math_vision_official
from evalkit.metrics.math_vision import final_answer
from evalkit.types import Answer, Sample

CHOICE = Sample("1", "?", "B", choices=("$\\frac{1}{4}$", "$\\frac{3}{8}$", "$1$"))
FREE = Sample("2", "?", "(2,4)")


@pytest.mark.parametrize(
    ("reply", "final"),
    [
        ("So it must be B.", "b"),
        ("So it must be (B).", "b"),
        ("B\nbecause", "b"),
        ("(B)\nbecause", "b"),
        ("(B) B\nbecause", "b"),
        ("The total is 12.", "12"),
        ("The answer is 12 apples. More text", "12apples"),
        ("the final answer is x = 5\nmore", "5"),
        ("first \\boxed{3}, then \\boxed{4}", "4"),
        ("\\boxed{\\text{(C)}}", "c"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{0.5}", "\\frac{1}{2}"),
        ("\\boxed{.25}", "0.25"),
        ("\\boxed{3/8}", "\\frac{3}{8}"),
        ("\\boxed{2\\sqrt5}", "2\\sqrt{5}"),
        ("\\boxed{12^\\circ}", "12"),
        ("\\boxed{5 km}", "5"),
        ("\\boxed{x \\approx 3.14}", "3.14"),
        ("nothing is marked here", "nothingismarkedhere"),
        ("", ""),
    ],
)
def test_the_final_answer_in_the_authors_form(reply: str, final: str) -> None:
    assert final_answer(reply) == final


@pytest.mark.parametrize(
    ("sample", "reply", "score"),
    [
        (CHOICE, "\\boxed{B}", 1),
        (CHOICE, "\\boxed{(b)}", 1),
        (CHOICE, "\\boxed{\\frac{3}{8}}", 1),
        (CHOICE, "\\boxed{0.375}", 1),
        (CHOICE, "\\boxed{0.38}", 1),
        (CHOICE, "\\boxed{0.25}", 0),
        (CHOICE, "\\boxed{A}", 0),
        (CHOICE, "I do not know", 0),
        (CHOICE, "", 0),
        (FREE, "\\boxed{(2, 4)}", 1),
        (FREE, "\\boxed{(4/2, 2^2)}", 1),
        (FREE, "\\boxed{(2, 5)}", 0),
        (FREE, "\\boxed{[2, 4]}", 0),
    ],
)
def test_equal_as_text_or_to_two_decimals(sample: Sample, reply: str, score: int) -> None:
    assert math_vision_official()(sample, Answer(text=reply)) == score


def test_all_but_six_of_the_released_decisions(data: Path) -> None:
    with gzip.open(data / "math_v" / "questions.jsonl.gz", "rt") as file:
        samples = {
            row["id"]: Sample(row["id"], "", row["answer"], choices=tuple(row["options"]))
            for row in map(json.loads, file)
        }
    metric, same, extracted, n = math_vision_official(), 0, 0, 0
    with gzip.open(data / "math_v" / "predictions.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            same += metric(samples[row["id"]], Answer(text=row["response"])) == row["correct"]
            extracted += final_answer(row["response"]) == str(row["extracted"])
            n += 1
    assert (n, same, extracted) == (18240, 18234, 18239)
