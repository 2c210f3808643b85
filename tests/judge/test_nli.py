"""The judge that is a classifier, on a tiny network by chance: batches, labels, long premises."""

import asyncio

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertTokenizerFast
from transformers import BertForSequenceClassification as Classifier

from evalkit.errors import SetupError
from evalkit.judge.nli import NliJudge
from evalkit.models.middleware.call_stats import CallStats, current
from evalkit.store import open_store
from evalkit.types import Passage, Sample

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "zinc",
    "iron",
    "shortens",
    "colds",
    "is",
    "safe",
    "inert",
    "not",
    "a",
    "the",
    "of",
    "by",
    "days",
    ".",
    ",",
    "and",
]
SAMPLE = Sample("s", "q")
LABELS = {0: "CONTRADICTION", 1: "ENTAILMENT", 2: "NEUTRAL"}
MEANING = {"CONTRADICTION": "contradicts", "ENTAILMENT": "entails", "NEUTRAL": "neutral"}


def make(folder, labels=LABELS) -> str:
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=48).save_pretrained(folder)
    torch.manual_seed(11)
    shape = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
        initializer_range=1.0,
        id2label=labels,
        num_labels=len(labels),
    )
    Classifier(shape).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return make(tmp_path_factory.mktemp("tiny-nli"))


def sentences(n):
    generator = torch.Generator().manual_seed(5)
    words = WORDS[5:]
    rows = torch.randint(len(words), (n, 6), generator=generator).tolist()
    return [" ".join(words[i] for i in row) for row in rows]


async def test_batches_say_what_transformers_says_pair_by_pair(folder):
    judge = await NliJudge.load(folder)
    premises, hypotheses = sentences(70), sentences(140)[70:]
    asked = [judge.relation((Passage("p", p),), h, SAMPLE) for p, h in zip(premises, hypotheses, strict=True)]
    found = await asyncio.gather(*asked)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = []
    for premise, hypothesis in zip(premises, hypotheses, strict=True):
        with torch.inference_mode():
            logits = model(**tokenizer(premise, hypothesis, return_tensors="pt")).logits[0]
        expected.append(MEANING[LABELS[int(logits.argmax())]])
    assert found == expected
    assert set(found) == {"entails", "contradicts", "neutral"}, "the network must be able to say all three"


async def test_the_order_of_labels_is_the_configs(folder, tmp_path):
    other = make(tmp_path, {0: "entailment", 1: "neutral", 2: "contradiction"})
    pairs = list(zip(sentences(30), sentences(60)[30:], strict=True))
    turned = {"contradicts": "entails", "entails": "neutral", "neutral": "contradicts"}
    one, two = await NliJudge.load(folder), await NliJudge.load(other)
    for premise, hypothesis in pairs:
        first = await one.relation((Passage("p", premise),), hypothesis, SAMPLE)
        assert await two.relation((Passage("p", premise),), hypothesis, SAMPLE) == turned[first]


async def test_two_labels_are_enough_and_names_without_meaning_are_not(tmp_path):
    (tmp_path / "two").mkdir()
    two = await NliJudge.load(make(tmp_path / "two", {0: "not_entailment", 1: "entailment"}))
    assert two.describe()["labels"] == ["neutral", "entails"]
    (tmp_path / "none").mkdir()
    nameless = make(tmp_path / "none", {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"})
    with pytest.raises(
        SetupError, match=r"none of its labels \(label_0, label_1, label_2\) is called entailment"
    ):
        await NliJudge.load(nameless)


async def test_a_long_premise_is_read_in_windows_of_whole_sentences(folder):
    judge = await NliJudge.load(folder)
    current.set(counts := CallStats())
    parts = [f"{text.capitalize()}." for text in sentences(300)]
    shown = (Passage("p", " ".join(parts[:30])), Passage("q", " ".join(parts[30:40])))
    hypothesis = "zinc is safe"
    found = await judge.relation(shown, hypothesis, SAMPLE)
    windows = judge._windows("\n".join(p.text for p in shown), hypothesis)
    assert len(windows) > 5
    assert all(len(judge._net.tokenizer(w, hypothesis)["input_ids"]) <= 48 for w in windows)
    alone = {await judge.relation((Passage("w", w),), hypothesis, SAMPLE) for w in windows}
    strongest = next(r for r in ("entails", "contradicts", "neutral") if r in alone)
    assert found == strongest
    assert await judge.relation((Passage("p", parts[0]),), "zinc " * 60, SAMPLE) == "neutral"
    assert await judge.relation((Passage("p", "zinc " * 60),), hypothesis, SAMPLE) == "neutral"
    assert judge.describe()["reads_tokens"] == 48
    assert counts.judged == {"asked": 3 + len(windows), "asked_in_windows": 3, "too_long": 2}


def test_through_the_command_the_judge_is_recorded(evalkit, folder):
    (evalkit.folder / "task_zinc.py").write_text(
        "from evalkit import Answer, Passage, Sample, task\n"
        "from evalkit.metrics import alce, biogen, ragchecker\n"
        "SHOWN = (Passage('a', 'zinc shortens colds'), Passage('b', 'zinc is safe'))\n"
        "@task([Sample(str(i), 'Zinc?', f'Zinc shortens colds by {i} days [1]. Zinc is safe [2].')\n"
        "       for i in range(5)], metrics=[alce(), biogen('support'), ragchecker('faithfulness')])\n"
        "async def zinc(sample, model, review):\n"
        "    answer = Answer(await model.generate(sample.input), passages=SHOWN)\n"
        "    return await review(sample, answer, ['citations', 'claims'])\n"
    )
    (run,) = evalkit.json("run", "task_zinc.py", "--model", "baseline:gold", "-p", f"judge=nli:{folder}")[
        "runs"
    ]
    assert run["status"] == "complete"
    assert set(run["metrics"]) == {"alce_recall", "biogen_support", "ragchecker_faithfulness"}
    with open_store(evalkit.folder / ".evalkit" / "evalkit.db") as store:
        told = store.runs.get(run["id"]).spec.provenance["fixture review"]
    assert (told["judge"], told["reads_tokens"], told["claims"]) == ("nli:tiny-nli0", 48, "sentences")
