"""Exact match, token F1 and ROUGE against SQuAD's rules, rouge-score and published figures."""

import gzip
import json
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer as ReferenceScorer

from evalkit.errors import MetricError, UsageError
from evalkit.metrics import exact_match, length, rouge, token_f1
from evalkit.metrics.text import normalize
from evalkit.types import Answer, Passage, Sample

KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def data(*parts: str) -> Path:
    if "EVALKIT_DATA" not in os.environ:
        pytest.skip("EVALKIT_DATA is not set: it names the folder of real evaluation data")
    return Path(os.environ["EVALKIT_DATA"]).joinpath(*parts)


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().split("\n") if line]


def score(metric, reply, *targets, passages=None):
    return metric(Sample("s", "q", tuple(targets)), Answer(text=reply, passages=passages))


SHOWN = (Passage("d1", "It works."),)


# --- exact match and token F1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Eiffel-Tower!", "eiffeltower"),
        ("an apple a day", "apple day"),
        ("A", "a"),
        ("A.", "a"),
        ("the", "the"),
        ("?", "?"),
        (" \n", ""),
    ],
)
def test_normalization(text, expected):
    assert normalize(text) == expected


def test_exact_match_takes_the_best_reference_and_ignores_marks():
    assert score(exact_match(), "The Metformin. [1, 2]", "insulin", "metformin", passages=SHOWN) == 1.0
    assert score(exact_match(), "metformin and insulin", "insulin", "metformin") == 0.0
    assert score(exact_match(), "the", "A") == 0.0, "SQuAD's own script makes both of them empty, so equal"


def test_token_f1_by_hand():
    # words: {cat, sat, on, mat} against {cat, is, on, mat, mat}: 3 shared, F1 = 2·3/(4+5)
    assert score(token_f1(), "the cat sat on a mat", "The cat is on mat mat") == pytest.approx(6 / 9)
    assert score(token_f1(), "the cat sat", "dog", "cat sat") == 1.0


def test_marks_stay_where_they_can_be_the_answer():
    assert score(exact_match(), "[1, 2]", "[1, 2]") == 1.0
    assert score(exact_match(strip_citations=False), "[1, 2]", "[1, 2]", passages=SHOWN) == 1.0
    assert exact_match(strip_citations=False).name == "exact_match[strip_citations=False]"
    with pytest.raises(MetricError, match=r"consists of citation marks only; use strip_citations=False"):
        score(exact_match(), "[1, 2]", "[1, 2]", passages=SHOWN)


def test_no_reference_is_not_applicable():
    for metric in (exact_match(), token_f1(), rouge("rouge1")):
        assert score(metric, "text", "", " ") is None
        assert score(metric, "text", "", "text") == 1.0


def test_length_counts_words_without_marks():
    assert score(length(), "It works [1, 2].\nIt is safe. [3]", "t", passages=SHOWN) == 5.0
    assert score(length(), "An interval of [1, 2].", "t") == 5.0
    assert (length().higher_is_better, length().high, length().kind) == (None, None, "fact")


# --- ROUGE


def reference_rouge(kind, stem, reply, targets):
    return ReferenceScorer([kind], use_stemmer=stem).score_multi(targets, reply)[kind]


def assert_equal_to_rouge_score(reply, targets, stem):
    for kind in KINDS:
        expected = reference_rouge(kind, stem, reply, targets)
        for stat, value in zip(("precision", "recall", "f"), expected, strict=True):
            ours = rouge(kind, stem=stem, stat=stat)
            assert score(ours, reply, *targets) == value, (kind, stat)


WORDS = ["the", "patients", "patient", "treated", "treatments", "with", "Metformin", "had", "no"]
WORDS += ["effect", "effects", "p<0.05", "β-blockers"]
WORDS += [".", "\n", "\n\n", "[1]", "ß", "İstanbul", "Kelvin", "中文", "e\u0301", "\u2028", "\x85"]
PHRASES = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)
TEXTS = PHRASES | st.text(max_size=60)


@given(reply=TEXTS, targets=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=3), stem=st.booleans())
@settings(max_examples=150, deadline=None)
def test_rouge_equals_rouge_score_on_any_text(reply, targets, stem):
    assert_equal_to_rouge_score(reply, targets, stem)


@pytest.mark.parametrize("reply", ["", "\n\n", "one line", "two\nlines", "\ud800 lone", "ﬁne ＡＢＣ ①²"])
def test_rouge_equals_rouge_score_on_odd_texts(reply):
    assert_equal_to_rouge_score(reply, ["one line\nand two lines", "fine abc 12"], True)


def test_rouge_falls_back_on_rouge_score(monkeypatch):
    from evalkit.metrics import text

    monkeypatch.setitem(sys.modules, "rouge_score_rs.rouge_scorer", None)
    text._scorer.cache_clear()
    try:
        value = score(rouge("rougeL"), "patients were treated", "the patient was treated")
        assert isinstance(text._scorer("rougeL", True), ReferenceScorer)
    finally:
        text._scorer.cache_clear()
    # {patient, treat} of three and of four words
    assert value == pytest.approx(2 * 2 / (3 + 4))


def test_rouge_lsum_on_lines_and_on_sentences():
    reply, target = "It is safe. It works.", "It works. It is safe."
    assert score(rouge("rougeLsum"), reply, target) == score(rouge("rougeL"), reply, target)
    split = rouge("rougeLsum", sentences="split")
    assert score(split, reply, target) == 1.0
    lines = reference_rouge("rougeLsum", True, "It is safe.\nIt works.", ["It works.\nIt is safe."])
    assert score(split, reply, target) == lines.fmeasure


def test_rouge_ignores_citation_marks_in_reply_and_reference():
    assert score(rouge("rouge1"), "It works [1] well. [2, 3]", "It works well.", passages=SHOWN) == 1.0
    assert score(rouge("rouge1"), "It works well.", "It works [12] well.", passages=SHOWN) == 1.0
    kept = rouge("rouge1", strip_citations=False)
    assert score(kept, "It works [1] well.", "It works well.", passages=SHOWN) == pytest.approx(6 / 7)


CHINESE = ("糖尿病患者应定期检查血糖。", "糖尿病患者要定期检查血糖。")  # one of twelve characters differs


def test_rouge_reads_chinese_by_characters_where_asked():
    unicode = {kind: rouge(kind, tokenizer="unicode") for kind in ("rouge1", "rouge2", "rougeL", "rougeSU4")}
    found = {kind: score(metric, *CHINESE) for kind, metric in unicode.items()}
    assert found["rouge1"] == found["rougeL"] == pytest.approx(11 / 12)
    assert found["rouge2"] == pytest.approx(9 / 11)
    assert 0.7 < found["rougeSU4"] < 1
    assert unicode["rougeL"].name == "rougeL[tokenizer=unicode]"


@pytest.mark.parametrize(
    ("reply", "target", "expected"),
    [
        ("痛風は痛い", "痛風は痛い", 1.0),
        ("โรคเกาต์เจ็บ", "โรคเกาต์เจ็บ", 1.0),
        ("통풍은 아프다", "통풍은 아프다", 1.0),
        ("Подагра болезненна", "Подагра опасна", 0.5),
        ("गठिया दर्दनाक है", "गठिया पुरानी है", 2 / 3),
        ("cafe\u0301 au lait", "café au lait", 1.0),
        ("2型糖尿病 HbA1c", "2型糖尿病 hba1c", 1.0),
    ],
)
def test_rouge_reads_words_of_any_script_where_asked(reply, target, expected):
    assert score(rouge("rouge1", tokenizer="unicode"), reply, target) == pytest.approx(expected)


ASCII = st.lists(st.sampled_from([w for w in WORDS if w.isascii()]), max_size=40).map(" ".join)


@given(reply=ASCII | st.text(st.characters(max_codepoint=127), max_size=60), target=ASCII.filter(str.strip))
@settings(max_examples=100, deadline=None)
def test_both_tokenizers_of_rouge_agree_in_ascii(reply, target):
    for kind in (*KINDS, "rougeSU4"):
        both = [score(rouge(kind, tokenizer=name), reply, target) for name in ("rouge-score", "unicode")]
        assert both[0] == both[1], kind


@pytest.mark.parametrize("texts", [CHINESE, ("A good answer.", CHINESE[1]), (CHINESE[0], "A good answer.")])
def test_rouge_says_once_that_it_cannot_read_a_text(texts, caplog):
    from evalkit.metrics import text

    text._say_unread.cache_clear()
    for _ in range(3):
        assert score(rouge("rougeL"), *texts) == 0.0, "as rouge-score computes it"
    (said,) = caplog.messages
    assert "rouge(…, tokenizer='unicode')" in said
    assert score(rouge("rougeL"), "naïve β-cells", "naïve β-cells") == 1.0


def test_token_f1_reads_chinese_by_characters_where_asked():
    assert score(token_f1(), *CHINESE) == 0.0
    assert score(token_f1(tokenizer="unicode"), *CHINESE) == pytest.approx(11 / 12)
    assert token_f1(tokenizer="unicode").name == "token_f1[tokenizer=unicode]"


def test_length_counts_characters_of_scripts_without_spaces():
    assert score(length(), "糖尿病患者 HbA1c 升高。", "t") == 8.0


def test_rouge_names_and_wrong_names():
    assert rouge("rougeLsum").name == "rougeLsum"
    assert rouge("rouge2", stem=False, stat="recall").name == "rouge2[stem=False,stat=recall]"
    assert rouge("rougeLsum", sentences="split").name == "rougeLsum[sentences=split]"
    with pytest.raises(UsageError, match=r"'rouge-L' is not one of rouge1.* Did you mean 'rougeL'\?"):
        rouge("rouge-L")
    with pytest.raises(UsageError, match="'f1' is not one of f, precision, recall"):
        rouge("rouge1", stat="f1")


def test_aci_bench_rouge_reproduces_all_57_published_figures():
    """Table 6 of the ACI-BENCH paper; its column "ROUGE-L" is rougeLsum, unstemmed."""
    notes = {pair["id"]: pair["note"] for pair in read_jsonl(data("aci_bench", "test1.pairs.jsonl.gz"))}
    outputs = read_jsonl(data("aci_bench", "test1.outputs.jsonl.gz"))
    published = json.loads(data("aci_bench", "test1.published.json").read_text())
    compared = 0
    for row in published:
        replies = [o for o in outputs if o["system"] == row["system"]]
        assert len(replies) == len(notes) == 40
        figures = {
            "rouge1": row["published"]["rouge1"],
            "rouge2": row["published"]["rouge2"],
            "rougeLsum": row["published"]["rougeL_as_printed"],
        }
        for kind, figure in figures.items():
            metric = rouge(kind, stem=False)
            mean = sum(score(metric, o["output"], notes[o["id"]]) for o in replies) / 40
            assert 100 * mean == pytest.approx(figure, abs=0.01), (row["system"], kind)
            compared += 1
    assert compared == 57


def test_pubmedqa_rouge_floors():
    """What repeating the question, or the whole abstract, scores against the authors' conclusion."""
    questions = read_jsonl(data("pubmedqa", "questions.jsonl.gz"))
    texts = {doc["doc_id"]: doc["text"] for doc in read_jsonl(data("pubmedqa", "docs.jsonl.gz"))}
    floors = {row["what"]: row for row in json.loads(data("reference_scores.json").read_text())}
    baselines = {
        "the question itself": lambda q: q["question"],
        "whole gold document text": lambda q: texts[q["gold_doc_ids"][0]],
    }
    for what, reply in baselines.items():
        floor = floors[f"ROUGE F (stemmer on) of long_answer vs {what}"]
        for kind in ("rouge1", "rouge2", "rougeL"):
            mean = sum(score(rouge(kind), reply(q), q["long_answer"]) for q in questions) / len(questions)
            assert 100 * mean == pytest.approx(floor[kind], abs=0.01)


def test_a_megabyte_of_reply_is_scored():
    rng = random.Random(0)
    reply = " ".join(rng.choices(["it", "works", "well", "[1]", "."], k=250_000))
    for kind in KINDS:
        assert 0 < score(rouge(kind), reply, "It works well.") < 0.01
    assert 0 < score(token_f1(), reply, "It works well.") < 0.01
