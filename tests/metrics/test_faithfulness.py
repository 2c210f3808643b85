"""SummaC-ZS and AlignScore on tiny networks, against their definitions worked out pair by pair."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from evalkit.errors import MetricError, SetupError
from evalkit.metrics import alignscore, summac
from evalkit.types import Answer, Passage, Sample
from tests.metrics import tiny

TEXT = (
    "Zinc lozenges shortened colds by two days. Iron did nothing of use to anybody. "
    "Nausea was seen in a fifth of the adults. The trial of zinc was large and careful."
)
REPLY = "Zinc shortened colds in adults. Nausea was seen. Iron did nothing at all."
WORDS = f"{TEXT} {REPLY} .".replace(".", " . ")
SOURCES = TEXT.replace(". ", ".|").split("|")
SAID = REPLY.replace(". ", ".|").split("|")


def score(metric, reply, text=TEXT):
    return metric(Sample("s", "q"), Answer(text=reply, passages=(Passage("p", text),)))


def outputs(folder, pairs, head="AutoModelForSequenceClassification"):
    """Logits, or pooled outputs, of each pair by itself."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    kind = AutoModel if head == "AutoModel" else AutoModelForSequenceClassification
    model = kind.from_pretrained(folder).eval()
    with torch.inference_mode():
        made = [model(**tokenizer(*pair, return_tensors="pt")) for pair in pairs]
    return torch.cat([m.pooler_output if head == "AutoModel" else m.logits for m in made])


# --- SummaC


@pytest.fixture(scope="module")
def nli(tmp_path_factory) -> str:
    return tiny.bert(tmp_path_factory.mktemp("nli"), WORDS, labels=tiny.LABELS)


def expected_zs(folder, sources, said):
    pairs = [(source, sentence) for source in sources for sentence in said]
    table = torch.softmax(outputs(folder, pairs), dim=-1).reshape(len(sources), len(said), 3).numpy()
    return np.mean(table[:, :, 1].max(axis=0) - table[:, :, 0].max(axis=0))


def test_summac_by_its_definition(nli):
    assert score(summac(nli), REPLY) == pytest.approx(expected_zs(nli, SOURCES, SAID), abs=1e-5)
    first_two = summac(nli, max_sentences=2)
    assert first_two.name == f"summac_zs[model={Path(nli).name},max_sentences=2]"
    assert score(first_two, REPLY) == pytest.approx(expected_zs(nli, SOURCES[:2], SAID), abs=1e-5)


def test_summac_reads_more_than_a_hundred_sentences(nli):
    """The authors' code stops there: what follows would be as if it had not been written."""
    long = " ".join(["Iron did nothing of use to anybody."] * 120) + " " + SOURCES[0]
    whole = score(summac(nli), SAID[0], long)
    assert whole == pytest.approx(expected_zs(nli, [SOURCES[1], SOURCES[0]], SAID[:1]), abs=1e-5)
    assert score(summac(nli, max_sentences=100), SAID[0], long) == pytest.approx(
        expected_zs(nli, SOURCES[1:2], SAID[:1]), abs=1e-5
    )


def test_summac_of_nothing_and_of_what_it_cannot_read(nli, tmp_path):
    assert [score(summac(nli), reply) for reply in ("", " ", "[1]", "It is.")] == [-1.0] * 4
    assert summac(nli)(Sample("s", "q"), Answer(text=REPLY)) is None
    long = "zinc " * 40
    half = (expected_zs(nli, SOURCES, SAID[:1]) - 1) / 2
    assert score(summac(nli), f"{SAID[0]} {long.capitalize()}.") == pytest.approx(half, abs=1e-5)
    with pytest.raises(MetricError, match=r"a sentence of the sources has \d+ tokens, .* reads at most 32"):
        score(summac(nli), REPLY, f"{TEXT} {long.capitalize()}.")
    two = tiny.bert(tmp_path, WORDS, labels={0: "not_entailment", 1: "entailment"})
    with pytest.raises(SetupError, match="has no label for contradiction"):
        score(summac(two), REPLY)


# --- AlignScore


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> tuple[str, str]:
    """A checkpoint as the authors' trainer writes it, over a backbone with other weights."""
    home = tmp_path_factory.mktemp("alignscore")
    (home / "backbone").mkdir()
    backbone = tiny.bert(home / "backbone", WORDS, limit=512)
    model = AutoModel.from_pretrained(backbone)
    torch.manual_seed(3)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    (home / "trained").mkdir()
    model.save_pretrained(home / "trained")
    AutoTokenizer.from_pretrained(backbone).save_pretrained(home / "trained")
    state = {f"base_model.{name}": value for name, value in model.state_dict().items()}
    state["base_model.embeddings.position_ids"] = torch.arange(512)[None]
    for layer, size in (("bin_layer", 2), ("tri_layer", 3), ("reg_layer", 1)):
        state |= {f"{layer}.weight": torch.randn(size, 16), f"{layer}.bias": torch.randn(size)}
    torch.save({"state_dict": state, "epoch": 2, "hyper_parameters": {"model": backbone}}, home / "tiny.ckpt")
    return str(home / "tiny.ckpt"), backbone


def expected_alignment(checkpoint, chunks, said):
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    pooled = outputs(Path(checkpoint).parent / "trained", [(c, s) for c in chunks for s in said], "AutoModel")
    logits = pooled @ state["tri_layer.weight"].T + state["tri_layer.bias"]
    aligned = torch.softmax(logits, dim=-1)[:, 0].reshape(len(chunks), len(said))
    return float(aligned.max(dim=0).values.mean())


def test_alignscore_by_its_definition(checkpoint):
    metric = alignscore(checkpoint[0], backbone=checkpoint[1])
    assert metric.name == "alignscore[checkpoint=tiny]"
    assert score(metric, REPLY) == pytest.approx(expected_alignment(checkpoint[0], [TEXT], SAID), abs=1e-5)


def test_alignscore_reads_long_sources_in_chunks_of_whole_sentences(checkpoint):
    sentences = [
        f"{words} {n} ." for n, words in enumerate(["Zinc shortened colds by two days in adults"] * 80)
    ]
    text = " ".join(sentences)  # 80 sentences of 10 words: three chunks of 26 and one of two
    chunks = [" ".join(sentences[i : i + 26]) for i in range(0, 80, 26)]
    metric = alignscore(checkpoint[0], backbone=checkpoint[1])
    expected = expected_alignment(checkpoint[0], chunks, SAID)
    assert score(metric, REPLY, text.replace(" .", ".")) == pytest.approx(expected, abs=1e-5)


def test_alignscore_of_nothing_and_without_its_weights(checkpoint, tmp_path):
    metric = alignscore(checkpoint[0], backbone=checkpoint[1])
    assert [score(metric, reply) for reply in ("", "[1]", "zinc " * 600)] == [0.0, 0.0, 0.0]
    with pytest.raises(SetupError, match=r"does not exist: download AlignScore-base\.ckpt"):
        score(alignscore(str(tmp_path / "no.ckpt"), backbone=checkpoint[1]), REPLY)
    torch.save({"state_dict": {"other.weight": torch.ones(2)}}, tmp_path / "other.ckpt")
    with pytest.raises(SetupError, match="is not an AlignScore checkpoint over"):
        score(alignscore(str(tmp_path / "other.ckpt"), backbone=checkpoint[1]), REPLY)
    (tmp_path / "text.ckpt").write_text("no weights")
    with pytest.raises(SetupError, match="holds no weights that can be loaded safely"):
        score(alignscore(str(tmp_path / "text.ckpt"), backbone=checkpoint[1]), REPLY)
