"""Citations: how marks are read, and what they score."""

import pytest

from evalkit.metrics import citation_coverage, citation_precision, citation_recall, exact_match
from evalkit.metrics.citation import citations
from evalkit.reading.marks import without_marks
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
        ("It works [1].[2] It is safe.[3]", [("It works.", [0, 1]), ("It is safe.", [2])]),
        ("[1]In mice it works.\n[2]No effect.", [("In mice it works.", [0]), ("No effect.", [1])]),
        ("It works 【1】. Safe【2†L1-L3】.", [("It works.", [0]), ("Safe.", [1])]),
        ("It works ［1］, [^2] and [3†source].", [("It works, and.", [0, 1, 2])]),
        ("It works [[1]](https://a.b/c)[2](#p2).", [("It works.", [0, 1])]),
        ("It works [Passage 1]. Safe (passages 2 and 3).", [("It works.", [0]), ("Safe.", [1, 2])]),
        ("It works [1]–[3].", [("It works.", [0, 1, 2])]),
        ("It works [1 and 3].", [("It works.", [0, 2])]),
        ("It works [1、2]〔3〕 [#1].", [("It works.", [0, 1, 2])]),
        ("It works (1), (3).", [("It works,.", [0, 2])]),
        ("It works.¹ It is safe²,³.", [("It works.", [0]), ("It is safe.", [1, 2])]),
        ("It works (1). It is safe (2, 3).", [("It works.", [0]), ("It is safe.", [1, 2])]),
        # neither citations nor numbers of passages
        ("5 cm², 10⁶ cells and I² of 50%", [("5 cm², 10⁶ cells and I² of 50%", [])]),
        ("(1) it works, (2) it is safe", [("(1) it works, (2) it is safe", [])]),
        ("It fell in five (5).", [("It fell in five (5).", [])]),
        ("It works [1] in group (2).", [("It works in group (2).", [0])]),
        ("A [1,2,4]triazolo[4,3-a]pyrazine [1].", [("A [1,2,4]triazolo[4,3-a]pyrazine.", [0])]),
        ("[18]F-FDG, [14]C-urea and [3]H [2].", [("[18]F-FDG, [14]C-urea and [3]H.", [1])]),
        ("[111]In-pentetreotide [2]", [("[111]In-pentetreotide", [1])]),
        ("[3,3]-sigmatropic, [2+2], [6]-gingerol", [("[3,3]-sigmatropic, [2+2], [6]-gingerol", [])]),
        ("[1,5]-H, calix[4]arene, [1,2]Thiazole", [("[1,5]-H, calix[4]arene, [1,2]Thiazole", [])]),
        ("spiro[4,5]decane and [60]fullerene", [("spiro[4,5]decane and [60]fullerene", [])]),
        ("", []),
    ],
)
def test_marks_are_read_sentence_by_sentence(text, expected):
    assert citations(text, 3) == expected


def test_text_without_marks():
    assert without_marks("It works [1, 2]. Safe [3][4].") == "It works. Safe."
    assert without_marks("It works 【1】[^2] [3]and is safe.") == "It works and is safe."
    name = "[1,2,4]Triazolo[4,3-a]pyrazine and [18]F-FDG"
    assert without_marks(f"{name} [1].") == f"{name}."


def test_names_of_chemicals_are_compared_whole():
    shown = (Passage("d1", "x"),)
    sample = Sample("s", "q", "A [1,2,4]triazolo compound and [18]F-FDG.")
    answer = Answer(text="A [1,2,4]triazolo compound and [18]F-FDG [1].", passages=shown)
    assert exact_match()(sample, answer) == 1.0
    assert exact_match()(sample, Answer(text="A triazolo compound and F-FDG [1].", passages=shown)) == 0.0


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
        "[1]-",
        "[[1]](",
        "【1",
        "[1†",
        "(1) ",
        "(passage 1",
        "works¹",
        "[18]F",
        "[1]a",
    ],
)
def test_a_hostile_megabyte_is_read(unit):
    text = "It works [1]. " + unit * (1_000_000 // len(unit)) + "x"
    assert scores(text)[1] in (0.5, 1.0)


@pytest.mark.parametrize(
    ("reply", "cited"),
    [
        ("It works (Passage 1, Passage 2).", [0, 1]),
        ("It works (passage 1 and passage 3).", [0, 2]),
        ("It works (source: passage 3).", [2]),
        ("It works ¹.", [0]),
        ("It works <sup>1</sup>.", [0]),
        ("The area was 5 cm ².", []),
    ],
)
def test_marks_that_name_each_passage_or_stand_behind_a_space(reply, cited):
    assert [index for _, indices in citations(reply, 4) for index in indices] == cited
