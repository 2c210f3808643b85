"""Sentence borders in biomedical prose, and in what models write."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.data.sentences import split_sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["Mortality fell.", "Morbidity did not."],
        ["The difference was small (p < 0.05).", "It lasted for 2.5 years."],
        ["Risk fell by 0.5.", "Nobody died."],
        ["Drugs, e.g. Aspirin, i.e. Salicylates, were given vs. Placebo in St. Mary's hospital."],
        ["As Fig. 2 and Figs. S1 and S2 show, growth stopped (cf. Smith et al. 2010)."],
        ["It was first seen by Smith et al.", "The cause is unknown."],
        ["E. coli and S. aureus were cultured by J. Smith.", "Both grew."],
        ["All had hepatitis B.", "Patients were treated."],
        ["Children got vitamin D.", "Adults did not."],
        ["Doses were given i.v. or p.o. to all.", "Doses were 5 mg b.i.d.", "The rest got none."],
        ["Levels rose.", "mRNA was stable.", "p53 fell.", "β-catenin was lost."],
        ["No.", "There was no effect in sample No. 3."],
        ["It was seen in the ED.", "Ms. Smith answered within 300 ms.", "We agree."],
        ["Did it work?", "Yes!", "It did."],
        ["The drug works [1].", "It is safe [2][3]."],
        ["The drug works. [1]", "It is safe.[2, 3]", "Nobody died. [1] [4-6]"],
        ['He said "it works."', "(Others did not.)", "We agree."],
        ["it works in mice.", "it fails in humans."],
        ["Values were 5 ± 2 vs. 7 ± 3 mm Hg, respectively.", "95% of them rose."],
        ["The value was p < 0. 05 in both."],
        ["The N. Engl. J. Med. report agrees [1].", "So does J. Clin. Oncol. 2020;38:1."],
        ["It stood in Proc. Natl. Acad. Sci. USA, Nat. Med. and Lancet Oncol. in May.", "We agree."],
        ["A max. dose of 5 mg and a min. of 2 were given.", "After 30 min.", "Blood was drawn."],
        ["They were enrolled on Jan. 5, 2020, or in Sept. 2021.", "In Dec.", "The trial ended."],
        ["Suppl. Table 1 and suppl. data show it.", "Temp. was 38 °C in approx. 40 of them."],
        ["Samples were kept at room temp.", "Others were not.", "They were aged 5 yrs. and over."],
        ["Jane Roe, Ph.D., gave it b.i.d., q.d. or i.m. to all.", "She has a Ph.D.", "The rest do not."],
        ["Patients had non-S. aureus infections.", "Staph. aureus grew.", "So did anti-E. coli cells."],
        ["All had hepatitis-B.", "Patients with COVID-19 were left out."],
        ["J.-P. Roe et al. found it in the U.S. population."],
    ],
    ids=lambda sentences: sentences[0][:30],
)
def test_a_text_is_split_where_a_reader_would(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences)) == sentences


def test_lines_of_a_list_are_sentences_and_wrapped_lines_are_not() -> None:
    text = "Findings:\n\n1. Pain fell\n2. Sleep improved in\n   most patients.\n- No deaths"
    assert split_sentences(text) == [
        "Findings:",
        "1. Pain fell",
        "2. Sleep improved in most patients.",
        "- No deaths",
    ]


@pytest.mark.parametrize("text", ["", " \n\t ", "...", "\n\n. \n"])
def test_no_words_no_sentences(text: str) -> None:
    assert split_sentences(text) == []


@given(st.text(alphabet=st.sampled_from("ab AB.?!0 1[]()\n\"'é–")))
def test_nothing_but_white_space_and_bare_punctuation_is_lost(text: str) -> None:
    sentences = split_sentences(text)
    assert all(s == " ".join(s.split()) for s in sentences)
    letters = [c for c in text if c.isalnum()]
    assert [c for s in sentences for c in s if c.isalnum()] == letters


def test_real_abstracts_agree_with_their_authors_sentences(data: Path) -> None:
    """SciFact comes with the sentences of every abstract: at least 98 % of those borders are found."""
    found = right = true = 0
    with gzip.open(data / "scifact" / "corpus.jsonl.gz", "rt", encoding="utf-8") as f:
        for line in f:
            gold = [" ".join(s.split()) for s in json.loads(line)["sentences"] if any(map(str.isalnum, s))]
            mine, theirs = _borders(split_sentences(" ".join(gold))), _borders(gold)
            found, right, true = found + len(mine), right + len(mine & theirs), true + len(theirs)
    assert right / true > 0.98
    assert right / found > 0.98


def _borders(sentences: list[str]) -> set[int]:
    ends, position = set(), 0
    for sentence in sentences:
        position += len(sentence.replace(" ", ""))
        ends.add(position)
    return ends


def test_a_citation_behind_an_abbreviation_ends_no_sentence() -> None:
    assert split_sentences("Smith et al. [1] found no effect. Others did. [2] It held.") == [
        "Smith et al. [1] found no effect.",
        "Others did. [2]",
        "It held.",
    ]


@pytest.mark.parametrize(
    "sentences",
    [
        ["Gout hurts [1].", "Bananas are yellow.", "The sky is blue."],
        ["Does it hurt?", "Yes!", "It does (n = 5).", "We agree.[2]", "So do others."],
        ["痛风很痛[1]。", "香蕉是黄色的！", "天空是蓝色的？", "是。[2]"],
        ["痛風は「痛い。」", "バナナは黄色い。"],
        ["It hurts.", "痛风很痛.", "香蕉是黄色的。"],
        ["हृदय रोग है।", "वह ठीक है।"],
    ],
    ids=lambda sentences: sentences[0][:30],
)
def test_a_sentence_needs_no_space_before_it(sentences: list[str]) -> None:
    assert split_sentences("".join(sentences)) == sentences


@pytest.mark.parametrize(
    "text",
    [
        "See www.Example.com, http://a.b/c.Html and roe@x.Org for more",
        "Aspirin vs.Placebo by Dr.Smith, J.Smith or St.Mary's, e.g.Aspirin",
        "The reporter NF-κB.GFP.Luc and the program X!Tandem were used",
        "E.Coli was given at 3.5 mg, i.e.5 % and v1.2.Beta3",
        "温度 38.5 度",
    ],
)
def test_a_full_stop_inside_a_name_or_an_address_ends_nothing(text: str) -> None:
    assert split_sentences(text) == [text]


def test_lines_of_a_script_without_capitals_are_sentences() -> None:
    assert split_sentences("痛风很痛\n香蕉是黄色的\n\nโรคเกาต์เจ็บ\nกล้วยสีเหลือง") == [
        "痛风很痛",
        "香蕉是黄色的",
        "โรคเกาต์เจ็บ",
        "กล้วยสีเหลือง",
    ]


@pytest.mark.parametrize(
    "sentences",
    [
        ["It works.¹", "It is safe.²"],
        ["It works.¹,²", "It is safe."],
        ["Std. dev. was 5."],
        ["Sens. was 90% and spec. was 80%."],
        ["Conf. interval and freq. were given."],
        ["Cap. omeprazole was given."],
        ["We used the cap.", "It fit."],
    ],
    ids=lambda sentences: sentences[0][:30],
)
def test_raised_citations_and_abbreviations_of_statistics(sentences: list[str]) -> None:
    assert split_sentences(" ".join(sentences)) == sentences
