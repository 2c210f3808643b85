"""BioLaySumm: the hub's layout, the pool of an article's own sections, readability beside ROUGE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evalkit_tasks.biomedical import laysumm

from evalkit.errors import CorpusError

ROWS = Path(__file__).parent / "rows" / "biolaysumm"
LOCAL = ("-p", f"data={ROWS}", "-p", "search=bm25")


def test_an_article_is_an_abstract_and_sections() -> None:
    (sample, sections), *_ = laysumm.articles(ROWS, "eLife", "validation")
    assert sample.id == "eLife-validation-0"
    assert sample.input.startswith("Zinc shortens colds, but how")
    assert sections[1] == ("Results", "Cells with zinc made fewer copies of the virus.")
    assert laysumm.names(sample) == [f"eLife-validation-0#{n}" for n in (1, 2, 3)]
    pool = list(laysumm.pool(ROWS, "eLife", "validation"))
    assert [row["title"] for row in pool[:4]] == ["Introduction", "Results", "Methods", "Introduction"]


def test_the_hub_s_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = [json.loads(line) for line in (ROWS / "validation.jsonl").read_text().splitlines()]
    file = tmp_path / "validation.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert list(laysumm.articles(file, "PLOS", "validation")) == list(
        laysumm.articles(ROWS, "PLOS", "validation")
    )


def test_a_row_without_a_summary_is_named(tmp_path: Path) -> None:
    (tmp_path / "validation.jsonl").write_text('{"article": "a", "section_headings": "b", "title": "c"}\n')
    with pytest.raises(CorpusError, match=r"validation\.jsonl:1: it needs summary"):
        list(laysumm.articles(tmp_path, "eLife", "validation"))


def test_only_the_article_s_own_sections_are_shown(evalkit) -> None:
    runs = evalkit.json("run", "biolaysumm", *LOCAL, "-p", "k=2", "--model", "baseline:gold")["runs"]
    shown = {}
    for run in runs:
        sample = evalkit.json("show", run["id"], "--sample", "eLife-validation-1")
        arm = run["task"].split("arm=")[1].split(",")[0].removesuffix("]")
        shown[arm] = [passage["id"] for passage in sample["answer"]["passages"] or ()]
        values = {name: m["value"] for name, m in run["metrics"].items()}
        assert values["rouge1"] == values["rougeLsum[sentences=split]"] == 1
        assert 0 < values["fkgl"] < 30
    assert shown["abstract"] == []
    assert sorted(shown["retrieved"]) == shown["article"] == ["eLife-validation-1#1", "eLife-validation-1#2"]
