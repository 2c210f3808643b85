"""Numbers without support, and names."""

import pytest

from evalkit.errors import UsageError
from evalkit.metrics import entity_overlap, unsupported_numbers
from evalkit.metrics.mentions import entities
from evalkit.types import Answer, Passage, Sample, Status

SHOWN = (
    Passage("a", "In 1,204 adults the risk ratio was 0.712 (95% CI 0.61 to 0.83).", title="Zinc in 2019"),
    Passage("b", "Nausea in 20% of participants; IL-6 fell."),
)


def unsupported(reply, passages=SHOWN):
    return unsupported_numbers()(Sample("s", "q"), Answer(text=reply, passages=passages))


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        ("In 1204 adults the risk ratio was 0.71 [1]. Nausea: 20 % [2].", 0.0),
        ("The risk ratio was 0.72.", 1.0),  # 0.712 rounds to 0.71
        ("The risk ratio was 0.7; 1 in 5 had nausea.", 2 / 3),
        ("It fell by 29%, from 1204 (95% CI .61 to .83).", 1 / 4),
        ("IL-6 and CYP3A4 in 2019.", 0.0),
        ("1. First of all\n2. Secondly", 0.0),
        ("It works [1][2].", 0.0),
        ("P was 0.0000042 and 1.2e-5.", 1.0),
        ("", 0.0),
    ],
)
def test_numbers_by_hand(reply, share):
    assert unsupported(reply) == pytest.approx(share)


def test_numbers_are_equal_however_they_are_written():
    shown = (Passage("a", "10⁶ cells, p = 1.2×10⁻⁵ and .05, 1 500 mL, −0.5, 2,300,000 people, 0.0000001."),)
    for reply in (
        "10^6 cells or 1,000,000, p 1.2e-5 or 0.000012 and 0.05, 1,500mL, -0.5, 2.3 million, 1e-7",
        "10(6) or 10<sup>6</sup> cells, p = 1.2 x 10^-5",
    ):
        assert unsupported(reply, shown) == 0.0
    assert unsupported("Ill for 21 days.", (Passage("a", "Ill for twenty-one days."),)) == 0.0
    assert unsupported("Ill for 20 days.", (Passage("a", "Ill for twenty-one days."),)) == 1.0
    assert unsupported("106 cells, 0, 5, 12, 1, 1.3e-5, 2.4 million, 0.0000042", shown) == 1.0


def test_numbers_apply_where_there_are_sources():
    assert unsupported("In 1204 adults.", passages=None) is None
    assert unsupported("In 1204 adults.", passages=()) == 1.0
    metric = unsupported_numbers("input")
    sample = Sample("s", "Doctor: 3 days? Patient: rather 4.")
    assert metric.name == "unsupported_numbers[source=input]"
    assert metric(sample, Answer(text="Ill for 4 to 5 days.")) == 0.5
    assert metric(sample, Answer(text="Ill for 4 days."), Status.TRUNCATED) == 1.0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Metformin and adalimumab lower HbA1c.", {"metformin", "adalimumab", "hba1c"}),
        ("Patients with COPD had p53 and IL-6/IL-8 mutations.", {"copd", "p53", "il-6/il-8"}),
        ("The risk fell. In Crohn disease, no change.", {"crohn"}),
        ("A fall of 20 mg in 1,204 adults; mRNA stable.", {"mrna"}),
        ("The trial was small.", set()),
        ("Raised IL\u20116 in Sjo\u0308gren", {"il-6", "sjögren"}),
        ("", set()),
    ],
)
def test_what_a_name_is(text, names):
    assert entities(text) == names


def test_overlap_by_hand():
    sample = Sample("s", "q", ("Metformin lowers HbA1c in adults.", "It helps."))
    answer = Answer(text="Metformin and insulin-like IGF1 were studied; metformin helps.")
    # said: metformin, igf1; wanted: metformin, hba1c
    values = [entity_overlap(stat)(sample, answer) for stat in ("precision", "recall", "f")]
    assert values == pytest.approx([1 / 2, 1 / 2, 1 / 2])
    assert entity_overlap()(sample, Answer(text="It helps.")) == 0.0
    assert entity_overlap()(Sample("s", "q", "It helps."), answer) is None, "no name is wanted"
    with pytest.raises(UsageError, match="'f1' is not one of f, precision, recall"):
        entity_overlap("f1")


def test_hostile_text_takes_no_time():
    for text in (
        "1e400 9e99 10^300",
        "9" * 30,
        "1" * 200_000,
        "a-1" * 60_000,
        "1." * 100_000,
        "Aa/" * 60_000,
        "1,000" * 40_000,
    ):
        unsupported(text)
        entities(text)


@pytest.mark.parametrize(
    "reply",
    [
        "5-HT receptors",
        "2,4-dinitrophenol",
        "25-hydroxyvitamin D",
        "R^2 was high",
        "**1.** First",
        "1\\. First",
        "### 1. First",
    ],
)
def test_numbers_in_names_exponents_and_list_marks_need_no_source(reply: str) -> None:
    answer = Answer(None, reply, passages=(Passage("d", "no number"),))
    assert unsupported_numbers().fn(Sample("s", "q", "x"), answer) == 0.0
