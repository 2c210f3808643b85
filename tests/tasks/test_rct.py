"""Trial conclusions: both layouts of their data, and the known floor."""

from __future__ import annotations

from pathlib import Path

import pytest
from evalkit_tasks.biomedical import rct

from evalkit.errors import UsageError

SENTENCES = [
    ("24001", "objective", "To see whether zinc shortens colds ."),
    ("24001", "methods", "Adults took zinc or placebo ."),
    ("24001", "results", "Colds lasted @ days with zinc ."),
    ("24001", "conclusions", "Zinc shortened colds ."),
    ("24001", "conclusions", "It was safe ."),
    ("24002", "methods", "A trial without an objective ."),
    ("24002", "conclusions", "Nothing was found ."),
]


@pytest.fixture
def sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = [
        {"abstract_id": name, "label": label, "text": text, "sentence_id": n}
        for n, (name, label, text) in enumerate(SENTENCES)
    ]
    file = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file


def test_the_hub_s_sentences_become_abstracts(sentences: Path) -> None:
    (sample,) = rct.trials(sentences)
    assert sample.input == "To see whether zinc shortens colds ."
    assert sample.target == "Zinc shortened colds . It was safe ."
    documents = {row["id"]: row["text"] for row in rct.documents(sentences)}
    assert list(documents) == ["pmid:24001", "pmid:24002"], "abstracts without an objective are distractors"
    assert documents["pmid:24001"].endswith("Colds lasted @ days with zinc .")
    assert set(sample.relevance) <= set(documents)


def test_a_column_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    file = tmp_path / "other.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"abstract_id": "1", "label": "x"}]), file)
    with pytest.raises(UsageError, match=r"other\.parquet has no column 'text'; it has abstract_id, label"):
        list(rct.trials(file))


def test_repeating_the_title_has_the_known_score_and_it_finds_the_abstract(evalkit, data: Path) -> None:
    """ROUGE-1/2/L 28.92/10.70/21.55, of an independent script over the same files."""
    (run,) = evalkit.json(
        "run",
        "rct_conclusions[arm=retrieved]",
        "-p",
        f"data={data}/rct_conclusions",
        "-p",
        "search=bm25",
        "--model",
        "baseline:echo",
    )["runs"]
    values = {name: m["value"] for name, m in run["metrics"].items()}
    assert run["n"] == 1907
    assert values["rouge1"] == pytest.approx(0.2892, abs=1e-4)
    assert values["rouge2"] == pytest.approx(0.1070, abs=1e-4)
    assert values["rougeL"] == pytest.approx(0.2155, abs=1e-4)
    assert values["recall@1"] > 0.95, "the pool's documents have their titles"
