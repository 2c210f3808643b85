"""What holds for every metric: names, status, range; and that each is documented."""

import math
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import evalkit.metrics
from evalkit.errors import MetricError, UsageError
from evalkit.metrics import Metric, length, metric, recall, rouge
from evalkit.types import Answer, Passage, Sample, Status

SAMPLE = Sample("s1", "Does it work?", "It works.", relevance={"d1": 1})
SHOWN = (Passage("d1", "It works."),)
FACTORIES = sorted(set(evalkit.metrics.__all__) - {"Metric", "metric", "only", "where_answerable"})
# These read an answer of a certain kind out of the reply, SAMPLE's is free text; or weigh meaning.
READERS = {"accuracy", "closed_accuracy", "count_within", "math_answer", "macro_f1", "factoid", "list_answer"}
READERS |= {"abstention", "math_vision_official"}
WEIGH = {"bertscore", "alce", "biogen", "ragchecker", "meteor", "summac", "alignscore", "evidence_direction"}
WEIGH |= {"entity_overlap"}  # SAMPLE's target holds no name
NEEDS = {
    "recall": 5,
    "precision": 5,
    "ranking_measure": "Bpref",
    "alignscore": "a.ckpt",
    "evidence_direction": "a-network",
}


def make(name: str) -> Metric:
    factory = getattr(evalkit.metrics, name)
    return factory(NEEDS[name]) if name in NEEDS else factory()


@pytest.mark.parametrize("name", FACTORIES)
def test_every_factory_makes_a_documented_metric_that_a_worker_can_receive(name):
    made = make(name)
    assert made.help
    assert pickle.loads(pickle.dumps(made)).name == made.name
    docs = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert re.search(rf"^### `{name}\(", docs, re.MULTILINE), f"docs/metrics.md has no section for {name}"


def test_importing_the_package_imports_no_metric_library():
    code = "import sys, evalkit.metrics as m; m.rouge(); m.recall(5); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {
        "nltk",
        "rouge_score",
        "rouge_score_rs",
        "numpy",
        "scipy",
        "textstat",
        "torch",
        "transformers",
    } & set(loaded.split())


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'bleurt'"):
        _ = evalkit.metrics.bleurt


@pytest.mark.parametrize("status", [Status.TRUNCATED, Status.REFUSED, Status.EMPTY, Status.UNPARSED])
def test_a_failed_reply_scores_worst_even_if_its_text_is_the_target(status):
    right = Answer(text="It works. [1]", passages=SHOWN)
    outputs = [make(name) for name in FACTORIES if name not in READERS | WEIGH]
    for m in (m for m in outputs if m.kind == "output" and m.higher_is_better):
        assert m(SAMPLE, right) == pytest.approx(1.0), m.name
        assert m(SAMPLE, right, status) == 0.0, m.name
    assert recall(1)(SAMPLE, right, status) == 1.0, "the retriever did its work whatever the model said"
    assert length()(SAMPLE, right, status) == 2.0


def test_a_failed_reply_gets_the_high_end_where_lower_is_better():
    errors = Metric("errors", lambda sample, answer: 0.0, high=10.0, higher_is_better=False)
    assert errors(SAMPLE, Answer(text=""), Status.EMPTY) == 10.0


def test_an_output_metric_must_know_its_worst_score():
    with pytest.raises(UsageError, match=r"'distance' has no worst score.*finite high="):
        Metric("distance", lambda sample, answer: 0.0, high=None, higher_is_better=False)


@pytest.mark.parametrize("value", [math.nan, math.inf, 27.4, -0.1])
def test_a_value_that_is_no_score_is_an_error_and_never_averaged(value):
    @metric
    def odd(sample, answer):
        return value

    with pytest.raises(MetricError, match=r"odd gave .* on sample 's1'"):
        odd(SAMPLE, Answer(text="x"))


def test_rounding_beyond_the_range_is_cut():
    assert Metric("m", lambda sample, answer: 1.0 + 1e-12)(SAMPLE, Answer(text="x")) == 1.0


def test_the_decorator_takes_name_range_and_help_from_the_function():
    @metric(high=None, kind="fact", unit="words")
    def words(sample, answer):
        """Words of the reply.

        More text.
        """
        return len(answer.reply.split())

    assert (words.name, words.high, words.unit, words.help) == ("words", None, "words", "Words of the reply.")
    assert words(SAMPLE, Answer(text="one two")) == 2.0


GARBAGE = [
    "",
    " \n ",
    "I'm sorry, but I cannot help with that.",
    "qzx vkw jjp",
    "[1]",
    "[7][8] [99999999]",
    "\ud800",
    "\x00" * 50,
    "(" * 1000,
    "A",
]


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_earns_nothing(text):
    sample = Sample("s1", "q", ("Metformin lowers glucose.", "yes"), relevance={"d1": 1})
    answer = Answer(text=text, passages=(Passage("d1", "Metformin."),))
    names = ["exact_match", "token_f1", "rouge", "citation_precision", "citation_recall", "citation_coverage"]
    assert {name: make(name)(sample, answer) for name in names} == dict.fromkeys(names, 0.0)
    assert rouge("rougeLsum", sentences="split")(sample, answer) == 0.0


def test_judges_is_still_understood_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match="kind="):

        @metric(high=None, judges="fact")
        def words(sample: Sample, answer: Answer) -> float:
            """Words."""
            return len(answer.reply.split())

    assert words.kind == "fact"
