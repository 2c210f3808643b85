"""What a reply has from its sources: how much of it is copied."""

import gzip
import json
import re

import pytest

from evalkit.errors import UsageError
from evalkit.metrics import copy_rate
from evalkit.types import Answer, Passage, Sample

SHOWN = (
    Passage("a", "Zinc lozenges shortened colds by a third.", title="Zinc"),
    Passage("b", "Iron did not."),
)


def rate(reply, passages=SHOWN):
    return copy_rate()(Sample("s", "q"), Answer(text=reply, passages=passages))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("zinc lozenges shortened colds by a third [1]", 1.0),
        ("We found that zinc lozenges: shortened colds, mostly.", 4 / 8),
        ("Colds by iron did not", 3 / 5),
        ("third Iron", 1 / 2),  # no span across two sources
        ("lozenge", 0.0),  # part of a word is no word
        ("Vitamin C", 0.0),
        ("", 0.0),
        ("[1]", 0.0),
    ],
)
def test_by_hand(reply, expected):
    assert rate(reply) == pytest.approx(expected)


def test_it_does_not_apply_without_passages():
    assert rate("Zinc lozenges", passages=None) is None
    assert rate("Zinc lozenges", passages=()) == 0.0


def test_the_input_as_source():
    metric = copy_rate("input")
    sample = Sample("s", "Doctor: any pain? Patient: some pain in the knee.")
    assert metric.name == "copy_rate[source=input]"
    assert metric(sample, Answer(text="Some pain in the left knee.")) == pytest.approx(4 / 6)
    with pytest.raises(UsageError, match=r"source: 'inputs' is not one of .* Did you mean 'input'\?"):
        copy_rate("inputs")


def test_a_third_of_bioasqs_ideal_answers_are_copied_whole(data):
    """Counted here by looking for the text itself; what reads as a citation mark is left out."""

    def rows(name):
        return map(json.loads, gzip.open(data / "bioasq" / name, "rt", encoding="utf-8"))

    texts = {p["passage_id"]: p["text"] for p in rows("passages.jsonl.gz")}
    copied = questions = 0
    for question in rows("questions.jsonl.gz"):
        shown = tuple(Passage(i, texts[i]) for i in question["gold_passage_ids"])
        answers = [a.strip() for a in question["ideal_answers"] if "[" not in a]
        wanted = [re.compile(rf"(?<!\w){re.escape(a.rstrip('.'))}(?!\w)") for a in answers]
        stands = [any(w.search(p.text) for p in shown) for w in wanted]
        rates = [rate(answer, shown) for answer in answers]
        assert all(r == 1.0 for r, there in zip(rates, stands, strict=True) if there)
        copied += 1.0 in rates
        questions += 1
    assert questions == 1497
    assert copied > questions / 3


def test_a_copied_sentence_in_chinese_is_counted_by_characters():
    assert rate("痛风很痛。请休息。", (Passage("a", "痛风很痛，但会好。"),)) == pytest.approx(4 / 7)
