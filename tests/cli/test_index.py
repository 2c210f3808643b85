"""``evalkit index``: what it says of an index, and that it sees what is wrong with one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

ROWS = [
    {"id": f"d{n}", "title": f"Trial {n}", "text": f"Zinc was given for {n} days. Nobody died in group {n}."}
    for n in range(12)
] + [{"id": "twin", "title": "Trial 3", "text": "Zinc was given for 3 days. Nobody died in group 3."}]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "trials.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("retriever", ["bm25", "hybrid?index=sq8"])
def test_a_sound_index_is_described_and_verified(evalkit: Any, corpus: Path, retriever: str) -> None:
    options = ["--chunk-sentences", "1", "--retriever", retriever]
    built = evalkit("index", "build", str(corpus), "--out", "index", *options)
    assert "Indexed 13 documents as 26 passages" in built.stdout
    assert "2 passages have title and text of another: --deduplicate leaves them out" in built.stdout
    facts = evalkit.json("index", "info", "index")
    assert facts["manifest"]["n_passages"] == 26
    assert facts["bytes"] == sum(file.stat().st_size for file in (corpus.parent / "index").iterdir())
    shown = evalkit("index", "info", "index").stdout
    for word in (retriever.partition("?")[0], str(corpus), "chunk_sentences=1", "26"):
        assert word in shown
    assert ("recall@10" in shown) == (retriever != "bm25")
    checked = evalkit.json("index", "verify", "index")
    assert checked["ok"] is True
    names = [check["name"] for check in checked["checks"]]
    assert names[:4] == ["files", "corpus", "documents", "passages"]
    assert ("vectors" in names) == (retriever != "bm25")
    assert all(check["ok"] for check in checked["checks"])


def test_what_is_wrong_with_an_index_is_seen(evalkit: Any, corpus: Path) -> None:
    evalkit("index", "build", str(corpus), "--out", "index")
    vectors = next((corpus.parent / "index").glob("vectors*.faiss"))
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-4] + b"\0\0\1\0")
    checked = evalkit("index", "verify", "index", "--json", code=1)
    document = json.loads(checked.stdout)
    assert (document["ok"], document["checks"][0]["found"]) == (False, f"{vectors.name} has changed")
    vectors.unlink()
    assert f"WRONG  files: {vectors.name} is missing" in evalkit("index", "verify", "index", code=1).stdout
    vectors.write_bytes(whole)
    assert "ok     files: " in evalkit("index", "verify", "index").stdout
    corpus.write_text(corpus.read_text().replace("Zinc", "Iron"))
    assert "corpus fingerprint" in evalkit("index", "verify", "index", code=2).stderr


def test_vectors_of_other_texts_are_seen_even_where_files_are_as_written(evalkit: Any, corpus: Path) -> None:
    """The vectors of one index under the checksums of another: only embedding anew can tell."""
    evalkit("index", "build", str(corpus), "--out", "index")
    other = corpus.parent / "other.jsonl"
    rows = [row | {"text": f"Walking after hip repair, patient {row['id']}."} for row in ROWS]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evalkit("index", "build", str(other), "--out", "wrong")
    home, wrong = corpus.parent / "index", corpus.parent / "wrong"
    manifest = json.loads((home / "manifest.json").read_text())
    for file in wrong.glob("vectors*"):
        (home / file.name).write_bytes(file.read_bytes())
        manifest["files"][file.name] = json.loads((wrong / "manifest.json").read_text())["files"][file.name]
    (home / "manifest.json").write_text(json.dumps(manifest))
    checked = json.loads(evalkit("index", "verify", "index", "--json", code=1).stdout)
    assert [check["name"] for check in checked["checks"] if check["ok"] is False] == ["vectors"]


def test_an_index_without_checksums_says_so(evalkit: Any, corpus: Path) -> None:
    evalkit("index", "build", str(corpus), "--out", "index", "--retriever", "bm25")
    path = corpus.parent / "index" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"files": {}, "n_documents": 99}))
    done = evalkit("index", "verify", "index", code=1)
    assert "–      files: the manifest has no checksums" in done.stdout
    assert "WRONG  documents: 13, not 99" in done.stdout


def test_commands_that_are_suggested_work_as_they_stand(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "one trial.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    build = ["index", "build", "one trial.jsonl", "--retriever", "bm25"]
    built = evalkit(*build, "--out", "my index").stdout
    assert "Indexed 1 document as 1 passage in my index." in built
    suggested = shlex.split(built.rpartition("Search it with: ")[2])
    assert suggested[0] == "evalkit"
    evalkit(*suggested[1:])
    refused = evalkit(*build, "--out", "my index", "--chunk-words", "9", code=2).stderr
    again = shlex.split(refused.rpartition("choose another one: evalkit ")[2])
    assert again[:3] == ["index", "build", "one trial.jsonl"]
    missing = evalkit("index", "info", "no index", code=2).stderr
    assert shlex.split(missing.rpartition("evalkit ")[2])[-2:] == ["--out", "no index"]


def test_what_is_no_index_is_said(evalkit: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("[]")
    for verb in ("info", "verify"):
        assert "holds no index" in evalkit("index", verb, "empty", code=2).stderr
        assert "cannot be read" in evalkit("index", verb, "damaged", code=2).stderr


def test_a_search_without_a_hit_says_so(evalkit: Any, corpus: Path) -> None:
    evalkit("index", "build", str(corpus), "--out", "index", "--retriever", "bm25")
    for question in ("pneumonia", "the", "肺炎"):
        found = evalkit("index", "search", "index", question)
        assert found.stdout == ""
        assert "nothing found: no passage shares a word with the question" in found.stderr
    silent = evalkit("index", "search", "index", "the", "--json")
    assert json.loads(silent.stdout)["passages"] == []
    assert "nothing found" not in evalkit("index", "search", "index", "zinc").stderr


def test_what_a_search_does_not_find_is_said_by_build_info_and_verify(evalkit: Any) -> None:
    rows = [{"id": "a", "headline": "Zinc", "body": "x " * 400}, {"id": "b", "headline": "", "body": ""}]
    (evalkit.folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    built = evalkit("index", "build", "c.jsonl", "--out", "index", "--text-field", "body").stderr
    info = evalkit("index", "info", "index").stdout
    manifest = evalkit.json("index", "info", "index")["manifest"]
    verified = evalkit("index", "verify", "index").stdout
    for said in (built, info, verified, "\n".join(manifest["notes"])):
        assert "1 document has neither title nor text: left out" in said
        assert "the field 'headline' may hold it: --title-field headline" in said
        assert "1 of 1 passages is longer than the 256 tokens that the encoder reads" in said
    assert (manifest["n_empty"], manifest["facts"]["encoder"]["passages_cut"]) == (1, 1)
