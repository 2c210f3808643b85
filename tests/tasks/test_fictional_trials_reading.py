"""Summaries as the exact metrics read them: numbers, counts of trials, direction, conflict."""

from __future__ import annotations

from decimal import Decimal

import pytest
from evalkit_tasks.synthetic.reading import conflict, direction, trial_counts

from evalkit.metrics.mentions import numbers

TREATMENT, CONTROL, SAME, MIXED = "favours treatment", "favours control", "no clear difference", "conflicting"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,204 or 1204 people", ["1204", "1204"]),
        ("1\u2009204 people", ["1204"]),
        ("0.71, .71 and 0·71", ["0.71", "0.71", "0.71"]),
        ("0.60-0.84, 0.60–0.84, (0.60,0.84)", ["0.60", "0.84"] * 3),
        ("−3.5 to -1.2", ["3.5", "1.2"]),
        ("RR 0.71 (95% CI 0.60 to 0.84)", ["0.71", "0.60", "0.84"]),
        ("0.71 (95 % confidence interval: 0.6; 0.8)", ["0.71", "0.6", "0.8"]),
        ("95% of patients", ["95"]),
        ("12.5% in 2019.", ["12.5", "2019"]),
        ("n=402, 84/402", ["402", "84", "402"]),
        ("VRN-04412345, FT-0000001 and CYP3A4", []),
        ("2. Three trials of 7 weeks", ["7"]),
        ("9" * 40, []),
    ],
)
def test_numbers(text: str, expected: list[str]) -> None:
    assert numbers(text) == [Decimal(x) for x in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Three trials", {3}),
        ("3 RCTs", {3}),
        ("three large, double-blind trials", {3}),
        ("Two of three trials", {3}),
        ("one trial and two other studies", {1, 2}),
        ("2,654 participants in trials", set()),
        ("some trials", set()),
        ("Twenty-one trials", {21}),
        ("1.5 trials", set()),
    ],
)
def test_trial_counts(text: str, expected: set[int]) -> None:
    assert trial_counts(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Torvadrax reduces relapse compared with placebo.", TREATMENT),
        ("Compared with placebo, torvadrax lowered the risk of relapse (RR 0.7).", TREATMENT),
        ("Relapse was less frequent with torvadrax than with placebo.", TREATMENT),
        ("Participants on placebo relapsed more often.", TREATMENT),
        ("Overall, the evidence favors torvadrax over placebo.", TREATMENT),
        ("Torvadrax not only reduced relapse.", TREATMENT),
        ("The trials agree: all show a benefit of torvadrax.", TREATMENT),
        ("Torvadrax prevented relapse. Adverse events were more frequent.", TREATMENT),
        (
            "One trial found a benefit, one no difference. Taken together, torvadrax reduces relapse.",
            TREATMENT,
        ),
        ("The upper bound is lower than 1, so torvadrax reduces relapse.", TREATMENT),
        ("Placebo was better than torvadrax.", CONTROL),
        ("Torvadrax increased relapse.", CONTROL),
        ("Torvadrax was inferior to placebo.", CONTROL),
        ("The results for torvadrax favoured the placebo group.", CONTROL),
        ("Relapse was lower with placebo than with torvadrax.", CONTROL),
        ("Torvadrax caused harm.", CONTROL),
        ("Torvadrax did not reduce relapse.", SAME),
        ("Torvadrax didn't reduce relapse.", SAME),
        ("Torvadrax didn’t reduce relapse.", SAME),
        ("There was no significant difference between torvadrax and placebo.", SAME),
        ("There is no evidence that torvadrax reduces relapse.", SAME),
        ("It is unclear whether torvadrax reduces relapse.", SAME),
        ("Torvadrax and placebo had similar relapse rates.", SAME),
        ("The pooled estimate favours neither side.", SAME),
        ("Does torvadrax reduce relapse?", None),
        ("Say which side the evidence favours, and whether torvadrax reduces relapse.", None),
        ("The evidence on torvadrax is conflicting.", MIXED),
        ("Two trials favoured torvadrax but one favoured placebo; the results are inconsistent.", MIXED),
        ("The results were not consistent.", MIXED),
        ("The trials do not conflict, and torvadrax reduced relapse.", TREATMENT),
        ("Torvadrax was compared with placebo in three trials.", None),
        ("One trial found that torvadrax reduced relapse. Another found that it increased relapse.", None),
        ("", None),
    ],
)
def test_direction_for_an_undesirable_outcome(text: str, expected: str | None) -> None:
    assert direction(text, "torvadrax", "placebo", desirable=False) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Torvadrax increases remission.", TREATMENT),
        ("Remission was higher with torvadrax than with belnivorn.", TREATMENT),
        ("Torvadrax lowered remission.", CONTROL),
        ("Remission was higher with belnivorn.", CONTROL),
        ("Torvadrax improved walking.", TREATMENT),
        ("Torvadrax did not raise remission.", SAME),
    ],
)
def test_direction_for_a_desirable_outcome_and_an_active_control(text: str, expected: str) -> None:
    assert direction(text, "torvadrax", "belnivorn", desirable=True) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The trials conflict.", True),
        ("Results were inconsistent.", True),
        ("The trials did not agree.", True),
        ("No trial contradicted another.", False),
        ("The trials agreed with each other.", False),
        ("Results were consistent.", False),
        ("Three trials were done.", None),
        ("Say whether the trials conflict. Do the trials conflict?", None),
        ("Results were consistent. The trials conflict.", None),
    ],
)
def test_conflict(text: str, expected: bool | None) -> None:
    assert conflict(text) is expected
