"""K-QA as a test of judges: authored rows, what constant labels score, and the physicians' own figures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

ANSWER = "Zinc shortens colds by a day. It may cause nausea."
ROWS = [
    ("Zinc makes colds shorter.", ["Entailment"] * 3),
    ("Zinc has no side effects.", ["Contradiction", "Contradiction", "Neutral"]),
    ("Zinc is a metal.", ["Neutral"] * 3),
]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "kqa"
    folder.mkdir()
    rows = [
        {
            "question": "Zinc?",
            "system": "askk",
            "answer": ANSWER,
            "claim": claim,
            "claim_kind": "Must_have",
            "labels": labels,
            "majority": labels[0],
        }
        for claim, labels in ROWS
    ]
    (folder / "nli_judgements.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(evalkit, folder: Path, model: str, *options: str):
    (found,) = evalkit.json("run", "judge_kqa", "-p", f"data={folder}", "--model", model, *options)["runs"]
    return found


def test_gold_and_a_model_that_is_asked_as_a_judge(evalkit, scripted, local: Path) -> None:
    metrics = run(evalkit, local, "baseline:gold")["metrics"]
    assert (metrics["exact_match"]["value"], metrics["macro_f1[entails|contradicts|neutral]"]["value"]) == (
        1,
        1,
    )
    scripted.reply = lambda question: "CONTRADICTED" if "side effects" in question else "SUPPORTED"
    served = f"openai:tiny@{scripted.url}"
    found = run(evalkit, local, served)
    assert found["metrics"]["exact_match"]["value"] == pytest.approx(2 / 3)
    # entails: 1 of 1 wanted, 2 said; contradicts: right; neutral: never said
    macro = found["metrics"]["macro_f1[entails|contradicts|neutral]"]["value"]
    assert macro == pytest.approx((2 / 3 + 1 + 0) / 3)
    asked = sum(scripted.asked.values())
    judged = run(evalkit, local, "baseline:empty", "-p", f"judge=llm:{served}")
    assert judged["metrics"]["exact_match"]["value"] == pytest.approx(2 / 3), "asked the same"
    assert sum(scripted.asked.values()) == 2 * asked
    scripted.reply = lambda question: "Perhaps."
    unread = run(evalkit, local, served, "--cache", "off")
    assert (unread["counts"]["unparsed"], unread["metrics"]["exact_match"]["value"]) == (3, 0.0)


def test_without_data_it_says_where_to_put_it(evalkit) -> None:
    done = evalkit("run", "judge_kqa", "--model", "baseline:gold", code=None)
    assert "nli_judgements.jsonl: -p data=FOLDER" in done.stderr


def test_the_figures_of_the_guide(evalkit, scripted, data: Path) -> None:
    scripted.reply = lambda question: "NEITHER"
    metrics = run(evalkit, data / "kqa", f"openai:tiny@{scripted.url}")["metrics"]
    assert metrics["exact_match"]["n"] == 201
    assert metrics["exact_match"]["value"] == pytest.approx(0.59, abs=0.005)
    assert metrics["macro_f1[entails|contradicts|neutral]"]["value"] == pytest.approx(0.25, abs=0.005)
    text = gzip.decompress((data / "kqa" / "nli_judgements.jsonl.gz").read_bytes()).decode()
    rows = [json.loads(line) for line in text.splitlines() if line]
    same = sum(label == row["majority"] for row in rows for label in row["labels"])
    assert same / (3 * len(rows)) == pytest.approx(0.94, abs=0.005)
