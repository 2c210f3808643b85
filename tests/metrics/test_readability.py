"""Readability grades: equal to textstat, and never good for a reply that says nothing."""

import pytest
import textstat

from evalkit.errors import UsageError
from evalkit.metrics import readability
from evalkit.types import Answer, Passage, Sample, Status

SAMPLE = Sample("s", "q")
FORMULAS = {
    "fkgl": textstat.flesch_kincaid_grade,
    "dcrs": textstat.dale_chall_readability_score,
    "cli": textstat.coleman_liau_index,
}
LAY = "Your heart pumps blood through the body. The new drug helps it to rest. Most people felt better."
HARD = (
    "Pharmacological inhibition of angiotensin-converting enzyme significantly attenuated ventricular "
    "remodelling in normotensive individuals with heart failure and preserved ejection fraction."
)


@pytest.mark.parametrize("formula", FORMULAS)
def test_equal_to_textstat(formula):
    for text in (LAY, HARD, f"{HARD} {LAY}"):
        inside = min(max(FORMULAS[formula](text), 0.0), 30.0)
        assert readability(formula)(SAMPLE, Answer(text=text)) == inside
    assert readability(formula)(SAMPLE, Answer(text=LAY)) < readability(formula)(SAMPLE, Answer(text=HARD))


def test_fkgl_by_hand():
    # 8 words in 2 sentences, 14 syllables: se-ri-ous, re-port-ed, pa-tients, e-vent and four of one
    text = "The patients slept. No serious event was reported."
    assert readability()(SAMPLE, Answer(text=text)) == pytest.approx(0.39 * 4 + 11.8 * 14 / 8 - 15.59)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("reply", ["", " \n ", "[1] [2]", "…", "12 %"])
def test_silence_is_not_easy_to_read(formula, reply):
    metric = readability(formula)
    assert metric(SAMPLE, Answer(text=reply)) == metric.worst == 30.0
    assert metric(SAMPLE, Answer(text=LAY), Status.TRUNCATED) == 30.0


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize(
    "reply",
    [
        "痛风是一种很痛的病。",
        "Подагра — болезненная болезнь суставов.",
        "النقرس مرض مؤلم.",
        "โรคเกาต์เป็นโรคที่เจ็บปวด",
        "गठिया एक दर्दनाक बीमारी है।",
        "COVID-19 患者接受了 5 mg 的药物治疗，症状有所改善。",
    ],
)
def test_a_text_in_another_script_is_not_easy_to_read(formula, reply):
    assert readability(formula)(SAMPLE, Answer(text=reply)) == 30.0


def test_greek_letters_and_accents_of_an_english_text_are_read():
    text = "TNF-α and IL-1β fell in Ménière's disease. The patients felt better."
    assert readability()(SAMPLE, Answer(text=text)) == pytest.approx(textstat.flesch_kincaid_grade(text))


def test_marks_are_no_words_where_passages_can_be_cited():
    shown = (Passage("d", "It works."),)
    cited = "Your heart pumps blood [1]. The new drug helps [1, 2]."
    plain = readability("dcrs")(SAMPLE, Answer(text="Your heart pumps blood. The new drug helps."))
    assert readability("dcrs")(SAMPLE, Answer(text=cited, passages=shown)) == plain


def test_unknown_formulas_are_named():
    with pytest.raises(UsageError, match=r"'fkg' is not one of fkgl, dcrs, cli\. Did you mean 'fkgl'\?"):
        readability("fkg")
