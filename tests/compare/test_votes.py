"""What an answer votes for: equal names for answers that say the same."""

from __future__ import annotations

import pytest

from evalkit.compare.votes import Vote, vote
from evalkit.types import Answer, Sample, Status


@pytest.mark.parametrize(
    ("target", "reply", "expected"),
    [
        ("12", "12", Vote("number", "12")),
        ("12", "Seven and five: the answer is 12.0", Vote("number", "12")),
        ("12", "about 12 or 13", Vote("text", "about 12 or 13")),  # a vote of its own, for no number
        ("1,200 mL", "It holds 1200 mL", Vote("number", "1200")),
        ("3", "We have 1 and 2, so \\boxed{3}", Vote("number", "3")),
        ("\\frac12", "First 4, then \\boxed{\\frac12}", Vote("text", "frac12")),
        ("yes", "Yes, it is.", Vote("label", "yes")),
        ("no", "The answer is no.", Vote("label", "no")),
        ("maybe", "Who can say", Vote("text", "who can say")),
        ("EGFR", "The EGFR.", Vote("text", "egfr")),
    ],
)
def test_a_reply_votes_for_what_is_read_of_it(target: str, reply: str, expected: Vote) -> None:
    assert vote(Sample("1", "What?", target), Answer(text=reply)) == expected


def test_what_the_task_has_read_comes_first() -> None:
    sample = Sample("1", "Which?", "12", choices=("12", "13"))
    assert vote(sample, Answer(text="13", choice=0)) == Vote("choice", "0")
    listed = {"exact_answer": ["The EGFR", "ALK"]}
    assert vote(sample, Answer(text="13", metadata=listed)) == Vote("exact answer", "egfr")
    assert vote(sample, Answer(text="13", metadata={"exact_answer": "Yes"})) == Vote("exact answer", "yes")
    assert vote(sample, Answer(text="13", metadata={"exact_answer": []})) is None
    assert vote(sample, Answer(text="13", metadata={"exact_answer": 13})) == Vote("exact answer", "13")


def test_a_failed_reply_has_no_vote() -> None:
    sample = Sample("1", "How many?", "12")
    assert vote(sample, None) is None
    assert vote(sample, Answer(text="12", status=Status.UNPARSED)) is None
