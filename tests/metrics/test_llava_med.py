"""LLaVA-Med's recall: values by hand, from the rule of its evaluation program."""

import pytest

from evalkit import Answer, Sample
from evalkit.metrics import llava_med_recall, token_recall
from evalkit.metrics.llava_med import normalize_vqa


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The left lung.", "left lung"),
        ("Two of the masses, dont move", "2 of masses don't move"),
        ("x-ray", "x ray"),
        ("x- ray", "x ray"),
        ("3.5 cm", "3.5 cm"),
        ("1,500 ml of x,y", "1500 ml of xy"),
        ("right/left", "right left"),
        ("y'alld've seen none", "y'all'd've seen 0"),
    ],
)
def test_the_vqa_challenge_normalizes(text: str, normalized: str) -> None:
    assert normalize_vqa(text) == normalized


@pytest.mark.parametrize(
    ("reply", "reference", "recall"),
    [
        ("In the upper lobe.", "upper left lobe", 2 / 3),
        ("lobe lobe lobe", "upper lobe", 3 / 4),  # a repeated word counts each time: the program's flaw
        ("two", "2", 1.0),
        ("", "upper lobe", 0.0),
        ("kidney", "upper lobe", 0.0),
    ],
)
def test_recall_by_hand(reply: str, reference: str, recall: float) -> None:
    assert llava_med_recall()(Sample("1", "?", reference), Answer(text=reply)) == pytest.approx(recall)


def test_ours_is_not_raised_by_repeating() -> None:
    sample = Sample("1", "?", "upper lobe")
    assert token_recall()(sample, Answer(text="lobe lobe lobe")) == 0.5
    assert llava_med_recall()(Sample("1", "?"), Answer(text="x")) is None
    assert llava_med_recall()(Sample("1", "?", ("kidney", "lobe")), Answer(text="lobe")) == 1.0
