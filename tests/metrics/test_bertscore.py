"""BERTScore on a tiny local network: equal to the package bert-score; what cannot be weighed is an error."""

import re

import pytest

from evalkit.collection.with_metrics import parse_metric
from evalkit.errors import MetricError, SetupError, UsageError
from evalkit.metrics import bertscore
from evalkit.types import Answer, Sample
from tests.metrics import tiny

WORDS = (
    "metformin lowers glucose insulin the in patients with diabetes . , a and trial ##s ##ed safe is it work"
)
PAIRS = [
    ("metformin lowers glucose .", "metformin is safe in patients with diabetes ."),
    ("it is safe", "it is a safe trial"),
    ("insulin and the trial . trials trialed", "insulin"),
    ("unheard words", "the patients"),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return tiny.bert(tmp_path_factory.mktemp("tiny-bert"), WORDS, limit=32)


def score(metric, reply, *targets):
    return metric(Sample("s", "q", targets), Answer(text=reply))


@pytest.mark.parametrize("layer", [1, 2])
def test_equal_to_bert_score(encoder, layer):
    from bert_score import BERTScorer

    reference = BERTScorer(model_type=encoder, num_layers=layer)
    for reply, target in PAIRS:
        expected = [float(value) for value in reference.score([reply], [target])]
        for stat, value in zip(("precision", "recall", "f"), expected, strict=True):
            found = score(bertscore(encoder, layer=layer, stat=stat), reply, target)
            assert found == pytest.approx(max(value, 0.0), abs=1e-5), (reply, stat)


def test_the_best_reference_counts(encoder):
    metric = bertscore(encoder, layer=2)
    assert score(metric, "it is safe", "the patients with diabetes", "it is safe") == pytest.approx(1.0)
    assert score(metric, "", "it is safe") == 0.0
    assert score(metric, "it is safe", " ") is None


def test_a_text_too_long_is_an_error_or_cut_by_order(encoder):
    long = "metformin lowers glucose " * 20
    with pytest.raises(MetricError, match=r"a text has 62 tokens, .* at most 32; truncate=True cuts"):
        score(bertscore(encoder, layer=2), long, "it is safe")
    cut = bertscore(encoder, layer=2, truncate=True)
    assert "truncate=True" in cut.name
    assert score(cut, long, 2 * long) == pytest.approx(1.0, abs=1e-5)


def test_names_and_wrong_settings(encoder):
    assert bertscore().name == "bertscore"
    assert (
        bertscore("bert-base-uncased", stat="recall").name == "bertscore[model=bert-base-uncased,stat=recall]"
    )
    with pytest.raises(UsageError, match="'/my/encoder' has no default layer; give layer="):
        bertscore("/my/encoder")
    with pytest.raises(UsageError, match="has layers 1 to 2, not 4"):
        score(bertscore(encoder, layer=4), "it is safe", "it is safe")


def test_missing_weights_say_how_to_get_them(tmp_path):
    with pytest.raises(
        SetupError, match=r"could not be loaded: .*hf download .* --local-dir FOLDER"
    ) as refused:
        score(bertscore(str(tmp_path), layer=2), "it is safe", "it is safe")
    call = re.search(r"--metric '(.*)'$", str(refused.value))[1]
    assert parse_metric(call.replace("FOLDER", str(tmp_path))).name == bertscore(str(tmp_path), layer=2).name
