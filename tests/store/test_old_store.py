"""A store of the first schema opens, is brought up to date once, and serves every reader and ``resume``."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalkit.facts import Chosen, read
from evalkit.store import open_store
from evalkit.store.records import ParameterInfo, Reproduction

OLD = Path(__file__).parent / "old_store"
MODULE = "import sys; from evalkit.store import open_store; print(len(open_store(sys.argv[1]).runs.find()))"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the old store, in which the runs of ``task_squares.py`` name the file where it is now."""
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress((OLD / "store.db.gz").read_bytes()))
    with sqlite3.connect(path) as raw:
        for key, packed in raw.execute("SELECT key, spec FROM run").fetchall():
            spec = msgspec.msgpack.decode(zlib.decompress(packed))
            if spec["target"]["task"] == "squares":
                spec["target"]["path"] = str(OLD / "task_squares.py")
                raw.execute("UPDATE run SET spec = ? WHERE key = ?", (msgspec.msgpack.encode(spec), key))
    raw.close()
    return path


def test_old_runs_keep_all_that_they_say(old: Path) -> None:
    with open_store(old) as store:
        runs = store.runs.find()
        scored, interrupted, blank, real, *rag = runs
        first, sliced = store.samples.get(real.id, 0), store.runs.get(real.id).slices
        assert {r.id: store.samples.counts(r.id) for r in runs} == {r.id: r.counts for r in runs}
    assert [run.n for run in runs] == [6, 4, 6, 6, *[2] * 6]
    assert scored.spec.reproduction == Reproduction(
        path=str(OLD / "task_squares.py"),
        params={"image": "real", "circular": False, "n": 6},
        named=("image",),
        metrics=("exact_match()",),
        given=True,
    )
    assert (scored.spec.model, scored.spec.model_spec, scored.spec.task_name) == ("preds", "preds", "squares")
    assert interrupted.status == "interrupted"
    assert interrupted.metrics["accuracy"].value == 1.0
    assert [info.kind for info in rag[0].spec.metrics if info.name in ("mrr", "length", "abstained")] == [
        "fact",
        "retrieval",
        "fact",
    ]
    assert blank.sample_set[1:] == real.sample_set[1:]
    assert sliced["parity=odd"]["accuracy"].n == 3
    assert first.answer is not None
    assert read(first.answer, Chosen).picks == [0, 1, 2]
    assert first.sample.images[0].data


def test_two_processes_may_open_an_old_store_at_once(old: Path) -> None:
    command = [sys.executable, "-c", MODULE, str(old)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == ["10", "10"]
    assert [process.returncode for process in both] == [0, 0]


def test_an_old_interrupted_run_is_resumed(old: Path, evalkit: Any) -> None:
    run = json.loads(evalkit("show", "--json", "--store", str(old)).stdout)["runs"][1]
    store = ("--store", str(old))
    refused = evalkit("resume", run["id"], *store, code=2).stderr
    assert "the rule of accuracy has changed since the run began" in refused
    assert f"evalkit rescore {run['id']} applies it to all" in refused
    evalkit("rescore", run["id"], *store, code=1)
    (resumed,) = evalkit.json("resume", run["id"], *store)["runs"]
    assert (resumed["n"], resumed["status"]) == (9, "complete")
    assert resumed["metrics"]["accuracy"]["value"] == 1.0
    assert resumed["calls"] == 9


def test_an_old_run_is_scored_again(old: Path, evalkit: Any) -> None:
    runs = evalkit.json("show", "--store", str(old))["runs"]
    (scored,) = evalkit.json("rescore", runs[0]["id"], "--metric", "token_f1()", "--store", str(old))["runs"]
    assert list(scored["metrics"]) == ["accuracy", "exact_match", "token_f1"]
    with open_store(old) as store:
        assert store.runs.get(runs[0]["id"]).spec.reproduction.metrics == ("exact_match()", "token_f1()")
    refused = evalkit("resume", runs[0]["id"], "--store", str(old), code=2).stderr
    assert "its answers came from a file" in refused


def test_old_runs_are_listed_shown_and_compared(old: Path, evalkit: Any) -> None:
    store = ("--store", str(old))
    runs = evalkit.json("show", *store)["runs"]
    assert "squares[image=shuffled,n=9]" in evalkit("show", *store).stdout
    assert "accuracy" in evalkit("show", runs[3]["id"], *store).stdout
    (relied,) = evalkit.json("show", runs[3]["id"], "--reliance", *store)["reliance"]
    assert {name: relied["runs"][name] for name in ("real", "blank")} == {
        "real": runs[3]["id"],
        "blank": runs[2]["id"],
    }
    samples = evalkit.json("show", runs[3]["id"], "--samples", *store)["samples"]
    assert [row["document"] for row in samples] == [f"square-{i}" for i in range(6)]
    record = evalkit.json("show", runs[3]["id"], "--sample", "square-1", *store)
    assert record["answer"]["metadata"]["picks"] == [1, 2, 0]
    assert "rule" in record["answer"]["metadata"]
    (report,) = evalkit.json("rag-report", runs[5]["id"], *store)["reports"]
    assert len(report["runs"]) == 3
    assert report["params"]["search"] == "bm25"


def test_a_new_run_joins_the_old_ones_on_their_board(old: Path, evalkit: Any) -> None:
    new = evalkit.json(
        "run",
        str(OLD / "task_squares.py"),
        "-p",
        "image=real",
        "--model",
        "baseline:random",
        "--store",
        str(old),
    )["runs"][0]
    with open_store(old) as store:
        spec = store.runs.get(new["id"]).spec
        assert spec.reproduction.parameters["n"] == ParameterInfo(6)
        assert spec.reproduction.parameters["image"].choices == ("real", "blank", "shuffled", "none")
        ranked = store.board.ranking("squares[image=real]", "accuracy")
    assert [(row.rank, row.run.spec.model) for row in ranked] == [(1, "baseline:random"), (None, "preds")]
    assert "accuracy's rule (version 1 and 2)" in ranked[1].reason
