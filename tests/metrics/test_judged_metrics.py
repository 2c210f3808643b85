"""Metrics over verdicts: hand calculations, and the example that RAGChecker publishes with its figures."""

import pytest

from evalkit.errors import MetricError, UsageError
from evalkit.metrics import alce, biogen, ragchecker
from evalkit.types import Answer, Passage, Sample, Status

SAMPLE = Sample("s", "q", "the reference")
E, C, N = "entails", "contradicts", "neutral"
RAGCHECKER = (
    "precision",
    "recall",
    "f1",
    "claim_recall",
    "context_precision",
    "context_utilization",
    "faithfulness",
    "noise_sensitivity_relevant",
    "noise_sensitivity_irrelevant",
    "hallucination",
    "self_knowledge",
)


def judged(**verdicts):
    return Answer(text="a reply", passages=(Passage("p", "text"),), metadata={"judged": verdicts})


def sentence(cited, alone, together, needed):
    return {"sentence": "…", "cited": cited, "alone": alone, "together": together, "needed": needed}


def values(factory, kinds, answer, status=Status.OK):
    return [factory(kind)(SAMPLE, answer, status) for kind in kinds]


# --- citations

FIVE = judged(
    citations=[
        sentence([0], [E], True, [True]),
        sentence([0, 1, 2], [E, N, C], True, [True, False, False]),
        sentence([1, 2], [N, N], True, [True, True]),  # each half alone, both together
        sentence([2, None], [E, N], True, [True, False]),  # a mark that points nowhere
        sentence([], [], False, []),
    ]
)


def test_biogen_by_hand():
    # sentences 1, 2 and 4 have a supporting citation; of 8 citations 3 support and 1 contradicts
    assert values(biogen, ("coverage", "support", "contradict"), FIVE) == pytest.approx([3 / 5, 3 / 8, 1 / 8])


def test_alce_by_hand():
    # sentences 1, 2 and 3 are entailed and need 1 + 1 + 2 citations: of 6, or of 8 with those of sentence 4
    assert values(alce, ("recall", "precision"), FIVE) == pytest.approx([3 / 5, 4 / 6])
    strict = [alce(kind, "all") for kind in ("recall", "precision")]
    assert [metric(SAMPLE, FIVE) for metric in strict] == pytest.approx([3 / 5, 4 / 8])
    assert [metric.name for metric in strict] == ["alce_recall[all]", "alce_precision[all]"]


def test_alce_looks_at_three_citations_of_a_sentence():
    """The rule of ALCE's program, ``--at_most_citations 3``: the fourth citation counts nowhere."""
    four = sentence([0, 1, 2, 3], [N, N, N, E], True, [False, False, False, True])
    unsupported = judged(citations=[four | {"first_three": {"together": False, "needed": [False] * 3}}])
    assert values(alce, ("recall", "precision"), unsupported) == [0.0, 0.0]
    assert alce("precision", "all")(SAMPLE, unsupported) == 1 / 4
    with pytest.raises(MetricError, match="run the task again, or use alce"):
        alce()(SAMPLE, judged(citations=[four]))


def test_nothing_is_skipped_and_nothing_earned_by_saying_nothing():
    for citations in ([], [sentence([], [], False, [])]):
        silent = judged(citations=citations)
        assert values(biogen, ("coverage", "support", "contradict"), silent) == [0.0, 0.0, 0.0]
        assert values(alce, ("recall", "precision"), silent) == [0.0, 0.0]
    assert biogen("contradict")(SAMPLE, FIVE, Status.TRUNCATED) == 1.0
    assert alce()(SAMPLE, FIVE, Status.TRUNCATED) == 0.0


def test_no_judge_is_not_applicable_and_a_judge_unread_an_error():
    answer = Answer(text="It works [1].", passages=(Passage("p", "It works."),))
    for metric in (biogen(), alce(), ragchecker()):
        assert metric(SAMPLE, answer) is None
        with pytest.raises(MetricError, match="no verdicts: llm:x answered 'hm'"):
            metric(SAMPLE, judged(error="llm:x answered 'hm'"))
    assert alce()(SAMPLE, judged(citations=None)) is None, "an arm without passages"


def test_wrong_kinds_are_named():
    with pytest.raises(
        UsageError, match=r"alce: 'recal' is not one of recall, precision\. Did you mean 'recall'\?"
    ):
        alce("recal")
    with pytest.raises(UsageError, match=r"ragchecker: 'faithful' .* Did you mean 'faithfulness'\?"):
        ragchecker("faithful")


# --- claims


def table(*rows):
    """``ENC`` is a claim that the first passage entails, the second does not and the third contradicts."""
    return [[verdict == "E" for verdict in row] for row in rows]


def claims(by_reference, by_reply, reply, reference):
    return judged(
        claims={
            "reply": [*by_reference],
            "reference": [*by_reply],
            "reply_by_reference": table(by_reference)[0],
            "reference_by_reply": table(by_reply)[0],
            "reply_by_passages": reply,
            "reference_by_passages": reference,
        }
    )


# examples/checking_outputs.json of RAGChecker, which prints the metrics beside the verdicts
NILE = claims(
    "NEEEEEEEENC",
    "EEEEEECNEENNNNNENNNNEE",
    table("NENN", *["NNNN"] * 5, "NENN", "NNNN", "ENNE", "NNNE", "NNNN"),
    table("NENN", "NNNN", "NNNN", "ENNN", "EENN", "ENNE", "CCNN", *["NNNN"] * 14, "NENN"),
)
FLAG = claims(
    "NEEEE",
    "EECENEEE",
    table("NEN", "NEE", "CEE", "ENE", "CEE"),
    table("NEN", "NEE", "NEN", "CEE", "NNE", "ENE", "EEE", "NEE"),
)


def test_equal_to_ragcheckers_published_example():
    nile = [
        8 / 11,
        0.5,
        0.5925925925925926,
        0.22727272727272727,
        0.75,
        1.0,
        0.36363636363636365,
        0.18181818181818182,
        0.0,
        0.09090909090909091,
        0.5454545454545454,
    ]
    assert values(ragchecker, RAGCHECKER, NILE) == pytest.approx(nile)
    five = ("precision", "recall", "claim_recall", "context_precision", "faithfulness")
    assert values(ragchecker, five, FLAG) == pytest.approx([0.8, 0.75, 1.0, 1.0, 1.0])


def test_noise_by_hand():
    # three passages: the first entails the reference's only claim, so it alone is relevant
    answer = claims("NNNE", "E", table("ENN", "NEN", "EEN", "NNN"), table("ENN"))
    noise = ("noise_sensitivity_relevant", "noise_sensitivity_irrelevant", "hallucination", "self_knowledge")
    # wrong claims 1 and 3 come from a relevant passage, 2 from an irrelevant one; 4 is right and from none
    assert values(ragchecker, noise, answer) == [2 / 4, 1 / 4, 0.0, 1 / 4]


def test_empty_matrices():
    assert values(ragchecker, RAGCHECKER, claims("", "", [], [])) == [0.0] * len(RAGCHECKER)
    silent = claims("", "EN", [], table("EN", "NN"))
    assert values(ragchecker, ("recall", "claim_recall", "faithfulness"), silent) == [0.5, 0.5, 0.0]
    found_nothing = claims("NE", "EE", [[], []], [[], []])
    of_nothing = ("faithfulness", "hallucination", "self_knowledge", "claim_recall")
    assert values(ragchecker, of_nothing, found_nothing) == [0.0, 0.5, 0.0, 0.0]


def test_what_they_judge():
    assert ragchecker("claim_recall")(SAMPLE, NILE, Status.EMPTY) == pytest.approx(5 / 22), "the retriever's"
    assert ragchecker("hallucination")(SAMPLE, NILE, Status.EMPTY) == 1.0
    assert ragchecker("f1")(SAMPLE, NILE, Status.EMPTY) == 0.0
    assert ragchecker("self_knowledge").higher_is_better is None
    closed_book = claims("EN", "E", None, None)
    assert ragchecker("precision")(SAMPLE, closed_book) == 0.5
    assert ragchecker("faithfulness")(SAMPLE, closed_book) is None
    assert ragchecker()(Sample("s", "q"), NILE) is None, "without a reference"
