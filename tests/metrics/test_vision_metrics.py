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
from evalkit.types import Answer, Sample, Status

NO_PICTURE = (
    "There is no image attached to your message. Please upload it.",
    "I'm sorry, but there is no image in your message.",
    "I don’t see any image.",
    "No picture was provided.",
    "No, no image was attached.",
    "Without the picture no answer can be given.",
    "I cannot see the image, so the answer is no.",
    "The image did not load.",
    "This cannot be determined, as there is no scale bar.",
    "It is not possible to say; no contrast was given.",
)


@pytest.mark.parametrize("reply", NO_PICTURE)
def test_a_reply_without_a_picture_is_neither_no_nor_none(reply: str) -> None:
    closed = Sample("1", "Is there a pneumothorax in this image?", "no")
    counted = Sample("1", "How many nodules are in this image?", "0")
    assert closed_accuracy()(closed, Answer(text=reply)) == 0.0
    assert count_within()(counted, Answer(text=reply)) == 0.0


def test_no_image_attached_earns_nothing_on_vqa_rad(data: Path) -> None:
    with (data / "vqa_rad" / "questions.jsonl").open(encoding="utf-8") as file:
        rows = [row for row in map(json.loads, file) if row["answer_type"] == "closed"]
    assert len(rows) > 600
    for reply in NO_PICTURE:
        scored = [
            closed_accuracy()(Sample("1", r["question"], r["answer"]), Answer(text=reply)) for r in rows
        ]
        assert sum(score or 0 for score in scored) == 0, reply


@pytest.mark.parametrize(
    ("target", "reply", "score"),
    [
        ("yes", "Yes.", 1),
        ("Yes", "No", 0),
        ("no", "**No**.", 1),
        ("yes", "<answer>yes</answer>", 1),
        ("Ménière-Test", "Me\u0301nie\u0300re\u2011Test.", 1),
        ("3 µm", "3 μm", 1),
        ("left", "\\(left\\)", 1),
        ("left", "not left", 0),
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
    assert count_within()(Sample("1", "?", "1,500"), Answer(text="1500mL")) == 1.0
    tenths = Sample("1", "?", "0.3", metadata={"tolerance": 0.1})
    assert [count_within()(tenths, Answer(text=reply)) for reply in ("0.4 cm", "0.41 cm")] == [1.0, 0.0]
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
        ("<answer>B</answer>", 1),
        ("\\[ \\frac{3}{8} \\]", 1),
        ("The answer is B. A common wrong answer is A", 1),
        ("The incorrect answer is B.", 0),
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
    assert same / n > 0.997, "the authors' rule does not read a unit: 96 cm for 96"
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
    assert math_equal("−5", "-5")
    assert math_equal("1,500 mL", "1500")
    assert math_equal("96\\text{ cm}", "96")
    assert math_equal("twenty-one", "21")
    assert not math_equal("0.0000042", "0")
    assert not math_equal("3x", "3")
    assert not math_equal("x+3", "3")
    assert not math_equal("2-3", "2")
