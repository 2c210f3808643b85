"""Words inside their denial, and words that are stated although a denial stands near them."""

import pytest

from evalkit.reading.negation import denied, stated


def x_is_denied(text: str) -> bool:
    place = text.index("X")
    return denied(text, place, place + 1)


@pytest.mark.parametrize(
    "text",
    [
        "Not X.",
        "The answer is not X.",
        "The answer isn't **X**",
        'It is not "X".',
        "I would not say X",
        "It is not A, X, or C",
        "Neither B nor X",
        "B rather than X",
        "Everything except X",
        "I would rule out X",
        "no X",
        "partly X",
        "It is partially X",
        "The incorrect answer is X",
        "The wrong option is: X",
        "Incorrect: X",
        "Wrong answers: B, X",
        "The least likely answer is X",
        "A common mistake is to choose X",
        "The distractor is X",
        "One might think X, but it is B",
        "Many people think the answer is X, but that is wrong",
        "I doubt that it is X",
        "X is wrong.",
        "X isn't right",
        "Option X is not correct",
        "X (incorrect)",
        "X can be ruled out",
        "X would be a mistake",
        "X cannot be right",
        "X is only partially right",
    ],
)
def test_denied(text: str) -> None:
    assert x_is_denied(text)


@pytest.mark.parametrize(
    "text",
    [
        "X",
        "The answer is X.",
        "The answer is X, not B.",
        "X and not B",
        "X rather than B",
        "X, because B is wrong",
        "Not A but X",
        "Not A, X.",
        "Not only X",
        "X is not wrong",
        "I am not sure, but X",
        "I am not sure: X",
        "A is wrong. X",
        "A is incorrect, so X",
        "Since A is false, X",
        "A common mistake is A; the answer is X",
        "The incorrect answer is A, but the correct answer is X",
        "Without a doubt X",
    ],
)
def test_stated(text: str) -> None:
    assert not x_is_denied(text)


def test_words_that_a_text_states() -> None:
    assert stated("Not yes but no.", ("yes", "no")) == {"no"}
    assert stated("Yes is wrong. The answer is Yes.", ("yes",)) == {"yes"}
    assert stated("Unsupported, yesterday", ("supported", "yes")) == set()


@pytest.mark.parametrize("unit", ["not ", "a, ", "n't ", "A, B, or ", "wrong answer ", "not yes ", " ", "'"])
def test_a_hostile_megabyte_is_read(unit: str) -> None:
    stated(unit * (1_000_000 // len(unit)) + "yes", ("yes", "no"))
