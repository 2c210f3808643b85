"""ΔEI on a tiny network, against the distance worked out from its own probabilities."""

import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from evalkit.errors import MetricError, SetupError, UsageError
from evalkit.metrics import evidence_direction
from evalkit.types import Answer, Sample
from tests.metrics import tiny

REPLY, TARGET = "Zinc shortened colds but caused nausea.", "Colds were shorter with zinc; nausea was rare."
WORDS = f"{REPLY} {TARGET} duration".replace(".", " . ").replace(";", " ; ")
LABELS = {0: "significantly decreased", 1: "no significant difference", 2: "significantly increased"}
PAIRS = [["zinc", "duration"], ["zinc", "nausea"], ["nausea", "colds"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return tiny.bert(tmp_path_factory.mktemp("direction"), WORDS, labels=LABELS)


def probabilities(folder, question, text):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return torch.softmax(
            network(**tokenizer(question, text, return_tensors="pt")).logits[0], dim=-1
        ).tolist()


def distance(p, q):
    """The root of the Jensen-Shannon divergence in bits."""
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]

    def divergence(x):
        return sum(a * math.log2(a / m) for a, m in zip(x, middle, strict=True) if a)

    return math.sqrt((divergence(p) + divergence(q)) / 2)


def score(metric, reply, *targets, pairs=None):
    sample = Sample("s", "q", targets, metadata={"interventions_outcomes": pairs} if pairs else {})
    return metric(sample, Answer(text=reply))


def test_delta_ei_by_its_definition(model):
    questions = [f"{intervention} [SEP] {outcome}" for intervention, outcome in PAIRS]
    found = [(probabilities(model, q, REPLY), probabilities(model, q, TARGET)) for q in questions]
    expected = sum(distance(p, q) for p, q in found) / 3
    assert score(evidence_direction(model), REPLY, TARGET, pairs=PAIRS) == pytest.approx(expected, abs=1e-5)
    same = sum(p.index(max(p)) == q.index(max(q)) for p, q in found) / 3
    agreement = evidence_direction(model, "agreement")
    assert score(agreement, REPLY, TARGET, pairs=PAIRS) == pytest.approx(same)
    assert agreement.higher_is_better
    assert not evidence_direction(model).higher_is_better


def test_without_pairs_the_text_is_asked_once(model):
    expected = distance(probabilities(model, "", REPLY), probabilities(model, "", TARGET))
    assert score(evidence_direction(model), REPLY, TARGET) == pytest.approx(expected, abs=1e-5)
    assert score(evidence_direction(model), REPLY, TARGET, REPLY) == pytest.approx(0.0, abs=1e-6)
    assert score(evidence_direction(model), "", TARGET) == 1.0


def test_labels_pairs_and_kinds_that_are_none(model, tmp_path):
    nli = tiny.bert(tmp_path, WORDS, labels=tiny.LABELS)
    with pytest.raises(
        SetupError,
        match=r"not classify directions: of its labels \(contradiction, entailment, neutral\)",
    ):
        score(evidence_direction(nli), REPLY, TARGET)
    with pytest.raises(MetricError, match="are not pairs"):
        score(evidence_direction(model), REPLY, TARGET, pairs=[["zinc"]])
    with pytest.raises(MetricError, match=r"a text has \d+ tokens"):
        score(evidence_direction(model), "zinc " * 80, TARGET)
    with pytest.raises(UsageError, match="'delta' is not one of delta_ei, agreement"):
        evidence_direction(model, "delta")
