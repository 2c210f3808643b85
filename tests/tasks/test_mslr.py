"""MSLR: both layouts, the studies of a review, and those that its background finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evalkit_tasks.biomedical import mslr_data

ROWS = Path(__file__).parent / "rows" / "mslr"
LOCAL = ("-p", f"data={ROWS}", "-p", "search=bm25", "--model", "baseline:gold")


def test_the_hub_s_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    rows = [json.loads(line) for line in (ROWS / "validation.jsonl").read_text().splitlines()]
    file = tmp_path / "validation.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    samples = list(mslr_data.reviews(file))
    assert samples == list(mslr_data.reviews(ROWS))
    assert samples[0].relevance == {"5001": 1, "5002": 1}


def test_what_is_left_out_is_recorded(evalkit) -> None:
    (run,) = evalkit.json("run", "mslr", *LOCAL, "-p", "studies=1")["runs"]
    left = [
        evalkit.json("show", run["id"], "--sample", name)["answer"]["metadata"]["studies_left_out"]
        for name in ("101", "102", "103")
    ]
    assert left == [1, 1, 0]
    assert "ndcg@10" not in run["metrics"], "nothing was searched for"


def test_the_background_finds_the_studies(evalkit) -> None:
    (run,) = evalkit.json("run", "mslr", "-p", "arm=retrieved", *LOCAL)["runs"]
    assert run["metrics"]["mrr"]["value"] == 1


def test_cochrane_s_reviews_have_nothing_to_search_by(evalkit, tmp_path: Path) -> None:
    row = json.loads((ROWS / "validation.jsonl").read_text().splitlines()[0])
    del row["background"]
    (tmp_path / "validation.jsonl").write_text(json.dumps(row) + "\n")
    run = evalkit(
        "run",
        "mslr",
        "-p",
        f"data={tmp_path}",
        "-p",
        "subset=cochrane",
        "-p",
        "arm=retrieved",
        "-p",
        "search=bm25",
        "--model",
        "baseline:gold",
        code=None,
    )
    assert run.returncode != 0
    assert "searches by a review's background" in run.stderr + run.stdout
