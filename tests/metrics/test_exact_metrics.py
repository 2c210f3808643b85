"""BioASQ's exact answers: hand calculations, scikit-learn's macro F1, and what a run makes of them."""

import pytest
from sklearn.metrics import f1_score

from evalkit.errors import MetricError, UsageError
from evalkit.metrics import factoid, list_answer, macro_f1
from evalkit.types import Answer, Sample, Status


def asked(gold):
    return Sample("s", "q", metadata={"exact_answer": gold})


def said(*names, **fields):
    return Answer(text="…", metadata={"exact_answer": list(names)}, **fields)


GENE = asked([["ABCC11", "MRP8"]])


@pytest.mark.parametrize(
    ("names", "strict", "lenient", "mrr"),
    [
        (["mrp8"], 1, 1, 1),
        (["TP53", "BRCA1", "abcc11 "], 0, 1, 1 / 3),
        (["a", "b", "c", "d", "e", "ABCC11"], 0, 0, 0),
        (["the ABCC11 gene"], 0, 0, 0),
        ([], 0, 0, 0),
    ],
)
def test_factoid_by_hand(names, strict, lenient, mrr):
    found = [factoid(kind)(GENE, said(*names)) for kind in ("strict", "lenient", "mrr")]
    assert found == pytest.approx([strict, lenient, mrr])


def test_list_by_hand():
    sample = asked([["duodenum"], ["kidney"], ["adipose tissue", "fat"], ["brain"]])
    reply = said("Kidney", "fat", "adipose tissue", "spleen")
    # two of four wanted; of the four named, one is a synonym again and one is wrong
    values = [list_answer(stat)(sample, reply) for stat in ("precision", "recall", "f")]
    assert values == pytest.approx([2 / 4, 2 / 4, 2 / 4])
    assert list_answer("precision")(sample, said("brain")) == 1.0
    assert list_answer("f")(sample, said("brain")) == pytest.approx(2 / 5)
    assert list_answer("f")(sample, said()) == 0.0


def test_a_name_that_two_wanted_entities_share_misses_neither():
    """Values of BioASQ's program."""
    sample, reply = asked([["gene x", "a"], ["a", "w"]]), said("A")
    assert [list_answer(stat)(sample, reply) for stat in ("precision", "recall", "f")] == [1.0, 1.0, 1.0]
    three = asked([["gene x", "a"], ["a", "w"], ["a", "z"]])
    assert list_answer("recall")(three, reply) == 0.5, "one name excuses one other entity"


def test_they_apply_to_their_kind_of_question_only():
    for metric in (factoid(), list_answer()):
        assert metric(asked("yes"), said("yes")) is None
        assert metric(Sample("s", "q", "a summary"), said()) is None
        with pytest.raises(MetricError, match="has read no exact answers"):
            metric(GENE, Answer(text="ABCC11"))
    assert macro_f1()(GENE, said("yes")) is None
    with pytest.raises(MetricError, match="is not a list of lists of synonyms"):
        factoid()(asked(["ABCC11"]), said("ABCC11"))


def run_of(metric, pairs):
    """The run's value for pairs of (right, reply or Answer)."""
    answers = [(asked(right), Answer(text=r) if isinstance(r, str) else r) for right, r in pairs]
    return metric.aggregate([metric(sample, answer) for sample, answer in answers])


def test_macro_f1_equals_scikit_learn():
    right = ["yes", "yes", "yes", "no", "no", "maybe", "maybe"]
    replies = ["Yes.", "yes", "No, it does not.", "no", "Yes", "maybe", "no"]
    read = ["yes", "yes", "no", "no", "yes", "maybe", "no"]
    labels = ["yes", "no", "maybe"]
    expected = f1_score(right, read, labels=labels, average="macro", zero_division=0)
    pairs = list(zip(right, replies, strict=True))
    assert run_of(macro_f1(labels), pairs) == pytest.approx(expected)
    assert macro_f1(labels).name == "macro_f1[yes|no|maybe]"
    two = f1_score(right[:5], read[:5], labels=labels[:2], average="macro", zero_division=0)
    assert run_of(macro_f1(), pairs[:5]) == pytest.approx(two)


def test_silence_is_as_wrong_as_a_wrong_label():
    """With two labels by BioASQ's program; with three, each wrong label stands for half of a silent reply."""
    for reply in ("I cannot tell.", "No."):
        assert run_of(macro_f1(), [("yes", reply), ("no", "No.")]) == pytest.approx(1 / 3)
    labels = ["yes", "no", "maybe"]
    right, read, weights = ["yes", "no", "maybe", "maybe"], ["no", "no", "yes", "no"], [1, 1, 0.5, 0.5]
    expected = f1_score(right, read, labels=labels, average="macro", sample_weight=weights, zero_division=0)
    pairs = [("yes", "no"), ("no", "no"), ("maybe", "It is unclear.")]
    assert run_of(macro_f1(labels), pairs) == pytest.approx(expected)


def test_always_yes_earns_no_more_than_half():
    pairs = [("yes", "yes")] * 9 + [("no", "yes")]
    assert run_of(macro_f1(), pairs) == pytest.approx((2 * 9 / 19) / 2)
    assert run_of(macro_f1(), [("yes", "yes")] * 3) == 0.5, "no is neither wanted nor said"


def test_a_failed_reply_says_nothing_whatever_it_holds():
    metric = macro_f1()
    values = [metric(asked(right), said(right), Status.TRUNCATED) for right in ("yes", "no")]
    assert metric.aggregate(values) == 0.0
    assert metric(asked("yes"), said("yes"), Status.OK) != values[0]


def test_the_label_that_the_task_read_counts():
    assert run_of(macro_f1(), [("yes", said("Yes")), ("no", said("no"))]) == 1.0
    assert run_of(macro_f1(), [("yes", said("yes", "no")), ("no", said())]) == 0.0


@pytest.mark.parametrize("labels", ["yes", ["yes"], ["yes", "Yes"]])
def test_labels_that_are_none(labels):
    with pytest.raises(UsageError, match="two or more different words"):
        macro_f1(labels)


def test_wrong_kinds_are_named():
    with pytest.raises(UsageError, match=r"'strikt' is not one of strict.* Did you mean 'strict'\?"):
        factoid("strikt")
    with pytest.raises(UsageError, match="'f1' is not one of f, precision, recall"):
        list_answer("f1")


def test_a_run_reports_macro_f1_as_one_number(evalkit):
    (evalkit.folder / "task_yesno.py").write_text(
        "from evalkit import Answer, Sample, task\n"
        "from evalkit.metrics import macro_f1\n"
        "S = [Sample(str(i), 'q', 'yes' if i % 4 else 'no') for i in range(20)]\n"
        "@task(S, metrics=[macro_f1()])\n"
        "async def yesno(sample, model):\n"
        "    return Answer(text='yes')\n"
    )
    (run,) = evalkit.json("run", "task_yesno.py", "--model", "baseline:empty")["runs"]
    found = run["metrics"]["macro_f1"]
    assert (found["value"], found["method"]) == (pytest.approx((2 * 15 / 35) / 2), "bootstrap")
