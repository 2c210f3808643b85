"""Short answers: which label or number a reply says, and which replies say none."""

from __future__ import annotations

import pytest

from evalkit.reading.answers import read_label, read_number, read_yes_no

FRACTURE = "Is there evidence of a fracture?"


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("**Yes**", "yes"),
        ("Ｙｅｓ", "yes"),
        ("<answer>no</answer>", "no"),
        ("Answer: No", "no"),
        ("The answer is yes.", "yes"),
        ("The answer is **no** because the bone is intact.", "no"),
        ("Yes, there is no fluid.", "yes"),
        ("No there is none.", "no"),
        ("No - yes would be wrong", "no"),
        ("Yes\nbecause no air is seen", "yes"),
        ("If a line were seen, it would be yes. The answer is no.", "no"),
        ("There is no evidence of a fracture", "no"),
        ("No fractures are seen.", "no"),
        ("I see no dislocation or fracture.", "no"),
        ("I would say yes", "yes"),
        ("I would say no in this case", "no"),
        ("Not yes but no.", "no"),
        ("Not yes.", None),
        ("The answer is not no.", None),
        ("A yes would be wrong.", None),
        ("A common mistake is yes.", None),
        ("partly yes", None),
        ("There is no doubt about it.", None),
        ("No doubt, the bone is broken.", None),
        ("There is no scale bar.", None),
        ("No patient information on a fracture", None),
        ("The wrong answer is no.", None),
        ("It would be wrong to say no.", None),
        ("One might say no.", None),
        ("If there were a line, the answer would be yes.", None),
        ("No. 3 shows it", None),
        ("no, yes", None),
        ("Yes, at first sight. The answer is no.", None),
        ("The wrong answer is yes. The answer is no.", "no"),
        ("yes or no", None),
        ("Yes and no", None),
        ("yes/no", None),
        ("", None),
        ("maybe", None),
        ("Yesterday", None),
        ("It is not known", None),
        ("I cannot say yes or no.", None),
        ("nodule", None),
    ],
)
def test_yes_and_no(reply: str, read: str | None) -> None:
    assert read_yes_no(reply, FRACTURE) == read


def test_no_before_a_noun_answers_the_question_for_that_noun_only() -> None:
    reply = "There is no abnormality."
    assert read_yes_no(reply, "Is there any abnormality?") == "no"
    assert read_yes_no(reply, "Is the lung normal?") is None
    assert read_yes_no(reply, "Is the lung free of any abnormality?") is None
    assert read_yes_no(reply) is None


def test_other_labels() -> None:
    labels = ("low", "some", "high")
    assert read_label("High, since all trials agree", labels) == "high"
    assert read_label("The risk is not high but low.", labels) == "low"
    assert read_label("low to high", labels) is None


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("3", 3),
        ("There are 3 cells.", 3),
        ("three", 3),
        ("twenty-one", 21),
        ("I count twelve of them", 12),
        ("1,204", 1204),
        ("3.5", 3.5),
        ("−2", -2),
        ("1.5cm", 1.5),
        ("$$3$$", 3),
        ("No platelets", 0),
        ("There are no visible platelets.", 0),
        ("None are visible", 0),
        ("zero", 0),
        ("Zero are visible", 0),
        ("I count zero platelets", 0),
        ("Zero information on that", None),
        ("I received 0 images.", None),
        ("None was provided.", None),
        ("There are 3 white cells and no red ones", 3),
        ("3, that is 3", 3),
        ("Of 12 cells, the answer is 3", 3),
        ("Not 3 but 4", 4),
        ("Answer: 7\n", 7),
        ("In 2 of 9", None),
        ("1 or 2", None),
        ("more than 3", None),
        ("No scale bar", None),
        ("None of the above", None),
        ("many", None),
        ("", None),
        ("x3y", None),
        ("One cannot say", None),
    ],
)
def test_numbers(reply: str, read: float | None) -> None:
    assert read_number(reply, "How many platelets are there?") == read


@pytest.mark.parametrize(
    ("reply", "question", "label"),
    [
        ("Yes. Wait, no.", "Is the heart enlarged?", None),
        ("The answer is no. Correction: yes.", "Is the heart enlarged?", None),
        ("Actually, no.", "Is the heart enlarged?", "no"),
        ("Yes. Actually, the heart is large.", "Is the heart enlarged?", "yes"),
        ("Yes?", "Is the heart enlarged?", None),
        ("Is it enlarged? No.", "Is the heart enlarged?", "no"),
        ("Unclear; maybe yes", "Is the heart enlarged?", None),
        ("no (image not provided)", "Is the heart enlarged?", None),
        ("Sure, yes I can look at it. There's no image though.", "Is the heart enlarged?", None),
        ("There's no left-sided effusion.", "Is there a right-sided effusion?", None),
        (
            "There is no effusion on the left; the right is obscured.",
            "Is there an effusion on the right?",
            None,
        ),
        ("No left or right effusion.", "Is there a right effusion?", "no"),
    ],
)
def test_corrections_questions_and_the_other_side_are_no_answer(
    reply: str, question: str, label: str | None
) -> None:
    assert read_yes_no(reply, question) == label


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("No/Maybe", None),
        ("maybe not", None),
        ("Answer: maybe not", None),
        ("no or unclear", None),
        ("yes, not no", "yes"),
        ("no - there is none", "no"),
    ],
)
def test_a_label_that_goes_on_as_a_hedge_is_no_answer(reply: str, label: str | None) -> None:
    assert read_label(reply, ("yes", "no", "maybe")) == label


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("less than or equal to 3", None),
        ("3 < x", None),
        ("2 nodules?", None),
        ("two-three", None),
        ("How many? 2", 2),
        ("**4**mm", 4),
        ("10**3", 1000),
    ],
)
def test_a_count_is_no_limit_and_no_question(reply: str, number: int | None) -> None:
    assert read_number(reply, "How many nodules are there?") == number
