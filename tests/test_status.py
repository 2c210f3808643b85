"""Statuses of answers: what is a refusal, and which replies that sound like one the metrics judge."""

from __future__ import annotations

import pytest

from evalkit.metrics import abstention, accuracy, closed_accuracy
from evalkit.metrics.abstaining import ABSTENTION
from evalkit.status import classify_answer
from evalkit.types import Answer, Sample, Status


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "Sorry, I cannot provide medical advice. Please consult a doctor.",
        "As an AI language model, I cannot give a diagnosis.",
        "I won't discuss this. If you have other questions, let me know.",
    ],
)
def test_refusals(reply: str) -> None:
    assert classify_answer(Answer(text=reply)) is Status.REFUSED


@pytest.mark.parametrize(
    "reply",
    [
        ABSTENTION,
        "I cannot answer this from the passages.",
        "I’m sorry, but I can’t answer that: the passages don’t mention it.",
        "I am unable to provide an answer based on the given context.",
        "I can't help with that based on the passages provided.",
        "I do not have enough information to answer this question.",
    ],
)
def test_an_abstention_is_no_refusal_and_keeps_its_credit(reply: str) -> None:
    sample = Sample("s", "What is velorim?", metadata={"answerable": False})
    answer = Answer(text=reply)
    status = classify_answer(answer)
    assert status is Status.OK
    assert abstention()(sample, answer, status) == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't give a diagnosis. The answer is no.",
        "I cannot provide medical advice, but the answer is no.",
        "I'm sorry, but I can't give details: no.",
        "No. I can't help with treatment, please consult a doctor.",
    ],
)
def test_a_right_answer_beside_an_apology_keeps_its_credit(reply: str) -> None:
    sample, answer = Sample("s", "Is there a fracture?", "no"), Answer(text=reply)
    assert closed_accuracy()(sample, answer, classify_answer(answer)) == 1.0


def test_a_choice_that_was_read_is_no_refusal() -> None:
    answer = Answer(text="I cannot provide medical advice. Please note (B).", choice=1)
    sample = Sample("s", "?", "insulin", choices=("aspirin", "insulin"))
    assert accuracy()(sample, answer, classify_answer(answer)) == 1.0
