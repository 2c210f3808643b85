"""``evalkit index`` with options: what a build says of itself, how a search is told what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_a_build_says_what_encodes_and_what_it_can_find(
    evalkit: Any, documents: list[dict[str, Any]]
) -> None:
    (evalkit.folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    done = evalkit("index", "build", "corpus.jsonl", "--out", "index", "--retriever", "faiss?index=hnsw")
    assert "used as its authors use it" in done.stdout
    assert "Index: hnsw (HNSW32, efSearch " in done.stdout
    manifest = json.loads((Path(evalkit.folder) / "index" / "manifest.json").read_text())
    recall = manifest["facts"]["index"]["recall@10"]
    assert recall > 0.95
    assert f"recall@10 against exact search {recall:.3f} (32 passages)" in done.stdout
    found = evalkit.json("index", "search", "index", "metformin in thrombosis", "-k", "3")
    twins = {"a-copy", "metformin-thrombosis", "z-copy"}
    assert {p["id"] for p in found["passages"]} == twins
    spread = evalkit.json(
        "index", "search", "index", "metformin in thrombosis", "-k", "3", "-p", "mmr=0.3", "-p", "depth=20"
    )
    assert len({p["id"] for p in spread["passages"]} & twins) == 1
    wrong = evalkit("index", "search", "index", "x", "-p", "mmmr=1", code=2)
    assert "Did you mean 'mmr'" in wrong.stderr
