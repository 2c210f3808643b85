"""Which replies abstain: written by hand, with findings of medicine that sound alike."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from evalkit.metrics.abstaining import ABSTENTION, abstains, abstention
from evalkit.types import Answer, Sample, Status


@pytest.mark.parametrize(
    "text",
    [
        ABSTENTION,
        "The provided passages do not contain information about zinc and colds [1][2].",
        "None of the abstracts addresses this question. They are about asthma.",
        "The question cannot be answered from these passages.",
        "I cannot answer this from the context.",
        "No passage mentions the drug.",
        "I know of no such trial.",
        "I don't know.",
        "The abstracts provided don't\nspecifically address the effect of statins on gout.",
    ],
)
def test_replies_that_abstain(text: str) -> None:
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Zinc shortened colds by one day [1].",
        "There is insufficient evidence to recommend zinc for colds [1].",
        "The evidence does not support the use of zinc [2].",
        "No trial showed a difference in mortality [1].",
        "Zinc helps [1]. The other passages do not address colds.",
        "Our results do not answer whether zinc helps children [1].",
        "I'm sorry, but I can't help with that.",
        "If you know of no such trial, say so.",
        "If no passage answers the question, reply only: The passages do not answer the question.",
    ],
)
def test_replies_that_do_not(text: str) -> None:
    assert not abstains(text)


def test_it_applies_where_nothing_answers() -> None:
    asked = Sample("s", "?", metadata={"answerable": False})
    assert abstention()(asked, Answer(text=ABSTENTION)) == 1
    assert abstention()(asked, Answer(text="Zinc helps [1].")) == 0
    assert abstention()(asked, Answer(text=""), Status.EMPTY) == 0
    assert abstention()(Sample("s", "?"), Answer(text=ABSTENTION)) is None
    assert abstention()(asked, Answer(text=ABSTENTION, metadata={"answerable": True})) is None


def test_no_conclusion_of_pubmedqa_is_taken_for_an_abstention(data: Path) -> None:
    with gzip.open(data / "pubmedqa" / "questions.jsonl.gz", "rt") as file:
        conclusions = [json.loads(line)["long_answer"] for line in file]
    assert len(conclusions) == 700
    assert [text for text in conclusions if abstains(text)] == []
