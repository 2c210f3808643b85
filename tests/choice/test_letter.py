"""``letter.v2`` on many replies: what states an option is read, nothing else is credited."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from evalkit.choice.extract import extractor, letter

# Replies to a question with the options DRUGS, by kind: those that state B, and those that state no option.
REPLIES = json.loads((Path(__file__).parent / "replies.json").read_text(encoding="utf-8"))
STATED, NOTHING = REPLIES["stated"], REPLIES["nothing"]
DRUGS = ("aspirin", "insulin", "metformin", "glucose")
FORMER = extractor("letter.v1")
BUGS = ("C. difficile", "E. coli", "S. aureus", "B. cereus")
SPECIES = ("Clostridioides difficile", "Escherichia coli", "Staphylococcus aureus", "Bacillus cereus")
CLASSES = ("A beta blocker", "An ACE inhibitor", "A diuretic", "A statin")
VITAMINS = ("Vitamin A", "Vitamin B", "Vitamin C", "Vitamin D")
BLOOD = ("O", "A", "B", "AB")
SUMS = ("aspirin", "insulin", "Both A and B", "None of the above")
NEITHER = ("Neither A nor B", "A", "B", "C")
NUMBERS = ("3", "5", "7", "9")
SIGNS = ("1.5", "15", "5", "-5")
TWINS = ("the same", "other", "the same")
LETTERS = ("B", "C", "D", "A")
TEN = tuple(f"item {n}" for n in range(10))
NESTED = ("facial muscles", "facial muscles and taste", "taste")
DECISIONS = ("yes", "no", "maybe")
TYPED = ("IL-6", "TNF-α", "Sjögren syndrome", "5 µM")
DENIALS = ("Not enough information", "Insulin is not a hormone", "insulin")
CELLS = ("T cells", "B cells", "NK cells", "D-dimer")
SMALL = ("a", "b", "c", "d")


def read(reply: str, options: tuple[str, ...] = DRUGS) -> str | None:
    choice = letter(reply, options).choice
    return None if choice is None else "ABCDEFGHIJ"[choice]


@pytest.mark.parametrize(("kind", "replies"), STATED.items(), ids=STATED)
def test_a_reply_that_states_an_option_is_read(kind: str, replies: list[str]) -> None:
    assert [reply for reply in replies if read(reply) != "B"] == []


@pytest.mark.parametrize(("kind", "replies"), NOTHING.items(), ids=NOTHING)
def test_a_reply_that_states_none_is_not_credited(kind: str, replies: list[str]) -> None:
    assert [(reply, read(reply)) for reply in replies if read(reply) is not None] == []


def test_what_the_second_version_mends() -> None:
    """The first version credits 102 of these replies with a choice they do not state; half are unread."""
    stated = [reply for replies in STATED.values() for reply in replies]
    nothing = [reply for replies in NOTHING.values() for reply in replies]
    assert sum(FORMER(reply, DRUGS).choice == 1 for reply in stated) < len(stated) / 2
    assert sum(FORMER(reply, DRUGS).choice is not None for reply in nothing) == 102


@pytest.mark.parametrize(
    ("options", "reply", "wanted"),
    [
        (BUGS, '{"answer": "C. difficile"}', "A"),
        (BUGS, "Answer: C. difficile", "A"),
        (BUGS, "The answer is C. difficile.", "A"),
        (BUGS, "C. difficile", "A"),
        (BUGS, "B. cereus", "D"),
        (BUGS, "E. coli", "B"),
        (BUGS, "C. difficile, because of the antibiotics.", "A"),
        (BUGS, "B. E. coli", "B"),
        (BUGS, "B", "B"),
        (BUGS, "Answer: C", "C"),
        (BUGS, "C. S. aureus", "C"),
        (BUGS, "A. C. difficile", "A"),
        (BUGS, "\\boxed{C. difficile}", "A"),
        (SPECIES, "C. difficile", None),
        (SPECIES, "The answer is C. difficile", None),
        (SPECIES, "Clostridioides difficile", "A"),
        (CLASSES, '{"answer": "A beta blocker"}', "A"),
        (CLASSES, "Answer: A diuretic", "C"),
        (CLASSES, "The answer is a statin.", "D"),
        (CLASSES, "A diuretic", "C"),
        (CLASSES, "A", "A"),
        (CLASSES, "D. A statin", "D"),
        (CLASSES, "Answer: D. A statin", "D"),
        (CLASSES, "A diuretic is the correct answer.", "C"),
        (VITAMINS, "Vitamin C", "C"),
        (VITAMINS, "The answer is vitamin C.", "C"),
        (VITAMINS, "Answer: Vitamin C", "C"),
        (VITAMINS, "A. Vitamin A", "A"),
        (VITAMINS, "B", "B"),
        (VITAMINS, "**B. Vitamin B**", "B"),
        (BLOOD, "The answer is AB.", "D"),
        (BLOOD, "O", "A"),
        (BLOOD, "B", "B"),
        (BLOOD, "Answer: O", "A"),
        (BLOOD, "AB", "D"),
        (SUMS, "Both A and B", "C"),
        (SUMS, "The answer is both A and B.", "C"),
        (SUMS, "None of the above", "D"),
        (SUMS, "Answer: none of the above", "D"),
        (SUMS, '{"answer_choice": "None of the above"}', "D"),
        (SUMS, "C", "C"),
        (SUMS, "C. Both A and B", "C"),
        (SUMS, "Answer: C. Both A and B", "C"),
        (SUMS, "D. None of the above", "D"),
        (SUMS, "The answer is D. None of the above", "D"),
        (NEITHER, "Neither A nor B", "A"),
        (NEITHER, "A", "A"),
        (NEITHER, "A. Neither A nor B", "A"),
        (NUMBERS, "5", "B"),
        (NUMBERS, "Answer: 5", "B"),
        (NUMBERS, "The answer is 5.", "B"),
        (NUMBERS, "\\boxed{5}", "B"),
        (NUMBERS, "B", "B"),
        (NUMBERS, "B. 5", "B"),
        (NUMBERS, "(B) 5", "B"),
        (NUMBERS, "Answer: 2", None),
        (NUMBERS, "15", None),
        (NUMBERS, "Answer: 55", None),
        (NUMBERS, '{"answer": 5}', "B"),
        (NUMBERS, "5 is the correct answer.", "B"),
        (SIGNS, "Answer: 1.5", "A"),
        (SIGNS, "Answer: -5", "D"),
        (SIGNS, "Answer: 5", "C"),
        (SIGNS, "The answer is −5.", "D"),
        (TWINS, "the same", None),
        (TWINS, "A", "A"),
        (TWINS, "C. the same", "C"),
        (TWINS, "Answer: C", "C"),
        (TWINS, "The answer is the same.", None),
        (LETTERS, "B", "B"),
        (LETTERS, "D", "D"),
        (LETTERS, "Answer: B", "B"),
        (LETTERS, "B. C", "B"),
        (LETTERS, "B) C", "B"),
        (TEN, "The answer is I.", "I"),
        (TEN, "I. item 8", "I"),
        (TEN, "The answer is I am not sure", None),
        (TEN, "A, because it is first.", "A"),
        (NESTED, "The answer is facial muscles and taste.", "B"),
        (NESTED, "Facial muscles", "A"),
        (DECISIONS, "Yes", "A"),
        (DECISIONS, "No.", "B"),
        (DECISIONS, "The answer is no.", "B"),
        (DECISIONS, "Answer: yes", "A"),
        (DECISIONS, "maybe", "C"),
        (DECISIONS, "B. no", "B"),
        (DECISIONS, "A. yes", "A"),
        (DECISIONS, "Answer: No", "B"),
        (DECISIONS, "Yes, it is.", "A"),
        (TYPED, "IL‑6", "A"),
        (TYPED, "5 μM", "D"),
        (TYPED, "TNF‑α", "B"),
        (DENIALS, "Not enough information", "A"),
        (DENIALS, "The answer is not enough information.", "A"),
        (DENIALS, "Insulin is not a hormone", "B"),
        (DENIALS, "Answer: Insulin is not a hormone", "B"),
        (CELLS, "B cells", "B"),
        (CELLS, "Answer: B cells", "B"),
        (CELLS, "D-dimer", "D"),
        (CELLS, "The answer is D-dimer", "D"),
        (CELLS, "The answer is B cells, not T cells.", "B"),
        (SMALL, "Answer: b", "B"),
        (SMALL, "(b)", "B"),
        (SMALL, "b", "B"),
        (("42", "4"), "The answer is 4", "B"),
        (("$\\frac{1}{3}$", "$\\frac{1}{2}$"), "Answer: $\\frac{1}{2}$", "B"),
        (TYPED, unicodedata.normalize("NFD", "Sjögren syndrome"), "C"),
        (("insulin",), "A", "A"),
        (("insulin",), "B", None),
        (("insulin",), "I don't know", None),
    ],
)
def test_letters_and_texts_of_options(options: tuple[str, ...], reply: str, wanted: str | None) -> None:
    assert read(reply, options) == wanted


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("Answer: A. Correction: B.", "B"),
        ("My answer is A... no, B.", "B"),
        ("The answer is aspirin. No, wait, insulin.", "B"),
        ("The answer is B. No, A is worse.", "B"),
        ("The answer is B. Actually, I am sure.", "B"),
        ("I don't think it's A. I believe it's B.", "B"),
        ("If I had to guess, the answer would be B.", "B"),
        ("Answer: A ❌ B ✅", "B"),
        ("❌ A\n✅ B\n❌ C\n❌ D", "B"),
        ("The answer was A in former editions; the answer is B now.", "B"),
        ("The answer is insulin, and metformin is wrong.", "B"),
        ("The answer is insulin and metformin.", None),
        ("The answer is insulin/metformin.", None),
        ("If the question asked for the wrong one, the answer would be A.", None),
        ("答えはAではなくBです。", None),
        ("The answer is B. C is also correct.", None),
        ("The answer is B (but C is possible)", "B"),
        ("B would be right if insulin were oral.", None),
        ("B – falsch, C – richtig", None),
        ("A: insulin", None),
        ("Vastaus: B", "B"),
        ("คำตอบคือ B", "B"),
    ],
)
def test_a_correction_counts_and_a_second_option_makes_a_reply_ambiguous(
    reply: str, wanted: str | None
) -> None:
    assert read(reply) == wanted


@pytest.mark.parametrize(
    "reply", ["The answer is 3.5", "3.5", "Answer: 3-4", "Answer: 3 to 5", "3 or 4", "3/5"]
)
def test_a_part_of_another_number_or_of_a_range_is_no_option(reply: str) -> None:
    assert read(reply, NUMBERS) is None
