"""The exact metrics: full marks for the reference, nothing for what is no answer, and each rule by itself."""

from __future__ import annotations

import pytest
from evalkit_tasks.synthetic import questions
from evalkit_tasks.synthetic.metrics import EXACT, answering, positioned

from evalkit import Answer, Sample
from evalkit.metrics import citation_precision, citation_recall
from evalkit.types import Passage, Status

NAMES = ("fact_recall", "evidence_direction", "citation_support", "unsupported_numbers")
FULL, NOTHING = (1.0, 1.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)

TRIALS = {
    "FT-0000001": "Torvadrax, placebo, Belnirick syndrome: 100 110 210 0.62 0.45 0.85",
    "FT-0000002": "Torvadrax, placebo, Belnirick syndrome: 300 310 610 0.80 0.66 0.97",
}
OTHER = Passage("FT-0000009", "Huskanolg for Belnirick syndrome: 50 of 70 patients", "Another trial")
SHOWN = (OTHER, *(Passage(name, text) for name, text in TRIALS.items()))
SAMPLE = Sample(
    "1",
    "Does torvadrax reduce relapse in Belnirick syndrome?",
    relevance={"FT-0000001": 2, "FT-0000002": 2, "FT-0000005": 1},
    metadata={
        "drug": "torvadrax",
        "control": "placebo",
        "condition": "Belnirick syndrome",
        "desirable": False,
        "facts": {
            "direction": "favours treatment",
            "trials": "2",
            "participants": "1204",
            "pooled": "0.71",
            "interval": "0.60 to 0.84",
            "conflict": "no",
            "estimate FT-0000001": "0.62",
            "estimate FT-0000002": "0.80",
        },
        "derived": ["2", "1204", "0.71", "0.60", "0.84", "29.00"],
        "trials": TRIALS,
    },
)


def scores(sample: Sample, text: str, shown: tuple[Passage, ...] | None = ()) -> tuple[float | None, ...]:
    answer = Answer(text=text, passages=shown)
    return tuple(metric(sample, answer) for metric in EXACT)


def score(name: str, text: str, shown: tuple[Passage, ...] | None = SHOWN) -> float | None:
    return scores(SAMPLE, text, shown)[NAMES.index(name)]


def test_the_metrics_are_these() -> None:
    assert tuple(m.name for m in EXACT) == NAMES
    assert [m.higher_is_better for m in EXACT] == [True, True, True, False]


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_the_reference_scores_full_marks_whatever_was_shown(seed: int) -> None:
    unrelated = tuple(Passage(d["id"], d["text"], d["title"]) for d in questions.documents(seed + 100, 1))
    for sample in questions.samples(seed, 100):
        assert scores(sample, sample.targets[0]) == FULL
        assert scores(sample, sample.targets[0], unrelated) == FULL
        for metric in map(answering, (citation_precision(), citation_recall())):
            assert metric(sample, Answer(text=sample.targets[0], passages=unrelated)) == 1.0


def test_the_reference_citing_by_number_scores_full_marks_too() -> None:
    for topic, sample in zip(questions.grow(7, 50), questions.samples(7, 50), strict=True):
        shown = tuple(
            Passage(t.id, questions.abstract(t), questions.title(t)) for t in reversed(topic.trials)
        )
        text, passages = positioned(sample, Answer(text=sample.targets[0], passages=shown))
        assert passages == shown
        assert "[FT-" not in text
        assert scores(sample, text, shown) == FULL


@pytest.mark.parametrize("text", ["", "I cannot help with that.", "qwe rtz uio.", "[1][2]", "Torvadrax."])
def test_what_is_no_answer_earns_nothing(text: str) -> None:
    assert scores(SAMPLE, text, SHOWN) == NOTHING


def test_random_letters_and_numbers_earn_nothing() -> None:
    assert scores(SAMPLE, "A B 17 C 3.4 D [2].", SHOWN) == NOTHING


@pytest.mark.parametrize("status", [Status.EMPTY, Status.REFUSED, Status.TRUNCATED])
def test_a_failed_reply_scores_worst_whatever_it_says(status: Status) -> None:
    sample = next(questions.samples(7, 1))
    answer = Answer(text=sample.targets[0], passages=())
    assert tuple(metric(sample, answer, status) for metric in EXACT) == NOTHING


def test_the_answer_to_another_question_earns_nearly_nothing() -> None:
    samples = list(questions.samples(7, 100))
    rows = [
        scores(sample, other.targets[0])
        for sample, other in zip(samples, [*samples[1:], samples[0]], strict=True)
    ]
    means = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    assert means[:3] == [0.0, 0.0, 0.0]
    assert means[3] > 0.95


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Torvadrax reduced relapse.", 1),
        ("Two trials tested torvadrax.", 1),
        ("Torvadrax was tested in 2 RCTs with 1204 people.", 2),
        ("Torvadrax: 1,204 people.", 1),
        ("Torvadrax: pooled RR .71 (95% CI 0.60–0.84).", 2),
        ("Torvadrax: pooled RR 0.7149 (0.84 to 0.6).", 2),
        ("Torvadrax: 0.60 in one and then 0.5, 0.84.", 0),
        ("The trials of torvadrax do not conflict.", 1),
        ("Torvadrax: 0.62 and 0.80.", 2),
        ("Torvadrax: 0.8.", 1),
        ("It reduced relapse in 2 trials with 1,204 people.", 0),  # it?
    ],
)
def test_fact_recall_counts_the_facts_stated(text: str, found: int) -> None:
    assert score("fact_recall", text) == found / 8


def test_direction_needs_the_drug_and_one_verdict() -> None:
    assert score("evidence_direction", "Torvadrax reduced relapse.") == 1
    assert score("evidence_direction", "Huskanolg reduced relapse.") == 0
    assert score("evidence_direction", "Torvadrax did not reduce relapse.") == 0
    assert score("evidence_direction", "Torvadrax was tested.") == 0


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Torvadrax gave 0.62 [2].", 0),
        ("Torvadrax gave 0.62 [1].", 1),  # stands in [2]
        ("Torvadrax gave 0.62 [9].", 1),
        ("Torvadrax gave 0.62.", 1),
        ("Torvadrax gave 0.62. It was tried in Belnirick syndrome [2].", 0),  # cited anywhere
        ("Torvadrax gave 0.62 and 0.63 [2].", 1 / 2),
        ("Pooled 0.71 (95% CI 0.60 to 0.84), 29% less, 2 trials, 1,204 people.", 0),  # all derived
        ("Torvadrax reduced relapse [2].", 1),  # no number at all
        ("Torvadrax gave 0.62 [FT-0000001].", 0),
        ("Torvadrax gave 0.62 [FT-0000003].", 1),
    ],
)
def test_unsupported_numbers(text: str, share: float) -> None:
    assert score("unsupported_numbers", text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Torvadrax gave 0.62 [2].", 1),
        ("Torvadrax gave 0.62. [2]", 1),
        ("Torvadrax gave 0.62 [3].", 0),
        ("Torvadrax gave 0.62 [2][9].", 0),  # [9] points nowhere
        ("Torvadrax gave 0.62 [2][1].", 0),  # [1] is about another drug
        ("Torvadrax gave 0.62 and 0.80 [2, 3].", 1),
        ("Torvadrax gave 0.62 and 0.80 [FT-0000001, FT-0000002].", 1),
        ("Pooled, torvadrax gave 0.71 [2][3].", 1),
        ("Pooled, torvadrax gave 0.71 [2].", 0),  # derived from both
        ("Torvadrax gave 0.62 [2]. It helps [2].", 1 / 2),  # the second states no fact
        ("Torvadrax gave 0.62 [2]. It gave 0.80.", 1 / 2),
        ("In Belnirick syndrome 50 of 70 patients [1].", 1),
        ("Torvadrax gave 0.62.", 0),
        ("[2]", 0),
    ],
)
def test_citation_support(text: str, share: float) -> None:
    assert score("citation_support", text) == pytest.approx(share)


def test_without_passages_by_design_citations_do_not_apply_but_numbers_do() -> None:
    text = "Torvadrax reduced relapse by 29% in 7 trials."
    assert score("citation_support", text, None) is None
    assert score("unsupported_numbers", text, None) == 1 / 2
    assert answering(citation_precision())(SAMPLE, Answer(text=text)) is None


def test_only_trials_that_answer_the_question_are_right_to_cite() -> None:
    interim = Passage("FT-0000005", "An interim report")
    answer = Answer(text="Torvadrax works [2][4].", passages=(*SHOWN, interim))
    assert answering(citation_precision())(SAMPLE, answer) == 1 / 2
    assert answering(citation_recall())(SAMPLE, answer) == 1 / 2
