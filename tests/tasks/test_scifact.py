"""SciFact: both layouts, reading replies, its F1 scores by hand, and the real claims."""

from __future__ import annotations

from pathlib import Path

import pytest
from evalkit_tasks.biomedical import scifact

from evalkit import Answer, Sample, Status

ROWS = Path(__file__).parent / "rows" / "scifact"


def test_the_hub_s_rows_of_one_claim_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    local = list(scifact.claims(ROWS))
    rows = [
        {
            "id": int(s.id),
            "claim": s.input,
            "evidence_doc_id": document,
            "evidence_label": label,
            "evidence_sentences": sentences,
            "cited_doc_ids": [int(name) for name in s.relevance],
        }
        for s in local
        for document, (label, sets) in (s.metadata["evidence"] or {"": ("", [[]])}).items()
        for sentences in sets
    ]
    assert len(rows) == 4
    file = tmp_path / "validation.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert list(scifact.claims(file)) == local
    assert [s.target for s in local] == ["SUPPORT", "CONTRADICT", "NOT ENOUGH INFO"]


@pytest.mark.parametrize(
    ("reply", "label", "verdicts"),
    [
        ("[2] CONTRADICT: 4, 5", "CONTRADICT", {"b": ("CONTRADICT", [3, 4])}),
        ("- [1]: supports (1) and more\n**2** refutes 3", "SUPPORT", {"a": ("SUPPORT", [0])}),
        (
            "[1] SUPPORT 1\n[2] CONTRADICT 2\n[3] CONTRADICT 1",
            "CONTRADICT",
            {"a": ("SUPPORT", [0]), "b": ("CONTRADICT", [1]), "c": ("CONTRADICT", [0])},
        ),
        ("【1】 SUPPORT: 2–4 and 6", "SUPPORT", {"a": ("SUPPORT", [1, 2, 3, 5])}),
        ("[1] NOT SUPPORT: 2", None, {}),
        ("[1] SUPPORT is not given", None, {}),
        ("[1] SUPPORT or CONTRADICT: 2", None, {}),
        ("There is not NOT ENOUGH INFO", None, {}),
        ("[9] SUPPORT 1", None, {}),
        ("Not enough info.", "NOT ENOUGH INFO", {}),
        ("I support this claim.", None, {}),
    ],
)
def test_replies_are_read(reply: str, label: str | None, verdicts: dict) -> None:
    assert scifact.read(reply, ["a", "b", "c"]) == (label, verdicts)


def score(level: str, *pairs: tuple[dict, dict]) -> float:
    metric = scifact.scifact_f1(level)
    values = [
        metric(Sample("1", "?", metadata={"evidence": evidence}), Answer(metadata={"verdicts": verdicts}))
        for evidence, verdicts in pairs
    ]
    assert metric.aggregate is not None
    return metric.aggregate([value for value in values if value is not None])


def test_f1_by_hand() -> None:
    """Two claims. Of the first, one abstract has the right label and one of two rationales whole, with a
    stray sentence; another abstract is no evidence. Of the second, nothing is said.
    """
    first = {"a": ("SUPPORT", [[1], [3, 4]])}, {"a": ("SUPPORT", [1, 3, 7]), "b": ("SUPPORT", [0])}
    second = {"c": ("CONTRADICT", [[2]])}, {}
    assert score("abstract_label", first, second) == pytest.approx(2 * 1 / (2 + 2))
    assert score("abstract_rationale", first, second) == pytest.approx(2 * 1 / (2 + 2))
    assert score("sentence_selection", first, second) == pytest.approx(2 * 1 / (4 + 4))
    wrong = first[0], {"a": ("CONTRADICT", [1])}
    assert score("sentence_selection", wrong) == pytest.approx(2 * 1 / (1 + 3))
    assert score("sentence_label", wrong) == score("abstract_label", wrong) == 0
    late = first[0], {"a": ("SUPPORT", [5, 6, 7, 1])}
    assert (score("abstract_label", late), score("abstract_rationale", late)) == (1, 0)


def test_a_failed_reply_says_nothing() -> None:
    sample = Sample("1", "?", metadata={"evidence": {"a": ("SUPPORT", [[1]])}})
    answer = Answer(metadata={"verdicts": {"a": ("SUPPORT", [1])}})
    metric = scifact.scifact_f1("abstract_label")
    assert metric.aggregate is not None
    assert metric.aggregate([metric(sample, answer, Status.TRUNCATED) or 0.0]) == 0
    assert metric.aggregate([metric(sample, answer) or 0.0]) == 1


def test_the_real_claims(evalkit, data: Path) -> None:
    """Gold is right about all; who sees no evidence about 112 of 300; an independent script's BM25 has
    nDCG@10 0.6780 and recall@10 0.8038 over the same abstracts."""
    (gold,) = evalkit.json(
        "run",
        "scifact[arm=oracle]",
        "-p",
        f"data={data / 'scifact'}",
        "-p",
        "search=bm25",
        "--model",
        "baseline:gold",
    )["runs"]
    values = {name: m["value"] for name, m in gold["metrics"].items()}
    assert gold["n"] == 300
    assert set(values.values()) == {1.0}
    file = evalkit.folder / "never.jsonl"
    ids = [sample.id for sample in scifact.claims(data / "scifact")]
    file.write_text("".join(f'{{"id": "{name}", "prediction": "NOT ENOUGH INFO"}}\n' for name in ids))
    (never,) = evalkit.json(
        "score", "scifact[arm=retrieved]", str(file), "-p", f"data={data / 'scifact'}", "-p", "search=bm25"
    )["runs"]
    assert never["metrics"]["accuracy"]["value"] == pytest.approx(112 / 300)
    assert "ndcg@10" not in never["metrics"], "the task's retriever was not asked"
    retrieved = ["scifact[arm=retrieved]", "-p", f"data={data / 'scifact'}", "-p", "search=bm25"]
    (found,) = evalkit.json("run", *retrieved, "--model", "baseline:empty")["runs"]
    values = {name: m["value"] for name, m in found["metrics"].items()}
    assert values["ndcg@10"] == pytest.approx(0.6780, abs=0.005)
    assert values["recall@10"] == pytest.approx(0.8038, abs=0.01)
