"""Citations: how marks are read, and what they score."""

import pytest

from evalkit.metrics import citation_coverage, citation_precision, citation_recall
from evalkit.metrics.citation import citations, without_marks
from evalkit.types import Answer, Passage, Sample

SAMPLE = Sample("s", "q", "t", relevance={"d1": 2, "d3": 1, "d4": 0})
SHOWN = tuple(Passage(f"p{i}", "text", doc_id=f"d{i}") for i in (1, 2, 3))


def scores(text, sample=SAMPLE, passages=SHOWN):
    answer = Answer(text=text, passages=passages)
    return tuple(m(sample, answer) for m in (citation_precision(), citation_recall(), citation_coverage()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It works [1].", [("It works.", [0])]),
        ("It works. [1] It is safe.[2]", [("It works.", [0]), ("It is safe.", [1])]),
        ("It works [1, 3] and [2].", [("It works and.", [0, 2, 1])]),
        ("It works [1][2][1].", [("It works.", [0, 1])]),
        ("It works [1-3].", [("It works.", [0, 1, 2])]),
        ("It works [3–1; 2].", [("It works.", [0, 1, 2])]),
        ("It works [ 2 ].", [("It works.", [1])]),
        ("It works [0] [4].", [("It works.", [None, None])]),
        ("It works [2-999999999].", [("It works.", [1, 2, None])]),
        ("It works.\n[2]", [("It works.", [1])]),
        ("[1] It works.\n[2][3] It is safe.", [("It works.", [0]), ("It is safe.", [1, 2])]),
        ("The drug works\n[2] and is safe.", [("The drug works and is safe.", [1])]),
        ("[2]", []),
        ("A range of 0.9 [0.7-1.2] in mice [n].", [("A range of 0.9 [0.7-1.2] in mice [n].", [])]),
        ("[12345678901]", [("[12345678901]", [])]),
        ("", []),
    ],
)
def test_marks_are_read_sentence_by_sentence(text, expected):
    assert citations(text, 3) == expected


def test_text_without_marks():
    assert without_marks("It works [1, 2]. Safe [3][4].") == "It works. Safe."


def test_precision_recall_and_coverage_by_hand():
    # citations: d1 (right), d1 and d2 (right, wrong), nothing, [9] (wrong): 2 of 4 right;
    # relevant are d1 and d3, cited is d1: 1 of 2; sentences 1 and 2 of 4 point to a passage
    text = "It works [1]. It is safe [1][2]. It is cheap. It is old [9]."
    assert scores(text) == (0.5, 0.5, 0.5)


def test_recall_is_over_all_relevant_documents_also_those_not_retrieved():
    assert scores("It works [1].", passages=SHOWN[:1]) == (1.0, 0.5, 1.0)


def test_two_chunks_of_one_document_are_that_document():
    chunks = (Passage("d1#0", "x", doc_id="d1"), Passage("d1#1", "y", doc_id="d1"))
    assert scores("It works [1]. It is safe [2].", passages=chunks) == (1.0, 0.5, 1.0)


def test_no_citation_scores_zero():
    assert scores("It works. It is safe.") == (0.0, 0.0, 0.0)


def test_a_search_that_found_nothing_scores_zero():
    assert scores("It works [1].", passages=()) == (0.0, 0.0, 0.0)


def test_not_applicable_without_passages_by_design_or_without_known_relevance():
    assert scores("It works [1].", passages=None) == (None, None, None)
    assert scores("It works [1].", sample=Sample("s", "q", "t")) == (None, None, 1.0)


def test_citing_everything_costs_precision():
    assert scores("It works [1-3].") == (pytest.approx(2 / 3), 1.0, 1.0)


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "[1",
        "[1,",
        "[1]",
        "[1-",
        ".",
        " ",
        "\n",
        "[1 ",
        ". [1] ",
        "\n[1] A",
        "\n[1]",
        "[999999999-1]",
        "]",
        "a. ",
    ],
)
def test_a_hostile_megabyte_is_read(unit):
    text = "It works [1]. " + unit * (1_000_000 // len(unit)) + "x"
    assert scores(text)[1] in (0.5, 1.0)
