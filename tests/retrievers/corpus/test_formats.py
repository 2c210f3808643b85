"""Corpora in the layouts that others write: recognised, read whole, and what is wrong with them named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evalkit_retrievers.corpus.corpus import Corpus
from evalkit_retrievers.index.bm25 import BM25Retriever

from evalkit.errors import CorpusError
from evalkit.types import Passage
from evalkit.util.progress import Silent

ROWS = [
    {"id": "a", "title": "Zinc", "text": "Zinc for colds.", "year": 2001},
    {"id": "b", "title": "Iron", "text": "Iron for anaemia.", "year": 2002},
]
FOUND = [
    Passage("a", "Zinc for colds.", "Zinc", doc_id="a", metadata={"year": 2001}),
    Passage("b", "Iron for anaemia.", "Iron", doc_id="b", metadata={"year": 2002}),
]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")


def beir(home: Path) -> Path:
    rows = [
        {"_id": r["id"], "title": r["title"], "text": r["text"], "metadata": {"year": r["year"]}}
        for r in ROWS
    ]
    jsonl(home / "queries.jsonl", [{"_id": "q", "text": "no document of mine"}])
    return jsonl(home / "corpus.jsonl", rows).parent


def shared(home: Path) -> Path:
    rows = [{"doc_id": r["id"], **{k: v for k, v in r.items() if k != "id"}} for r in ROWS]
    return jsonl(home / "corpus.jsonl.gz", rows).parent


def medrag(home: Path) -> Path:
    for row in ROWS:
        contents = f"{row['title']}. {row['text']}"
        chunked = {"id": row["id"], "title": row["title"], "content": row["text"], "contents": contents}
        jsonl(home / "chunk" / f"{row['id']}.jsonl", [chunked | {"year": row["year"]}])
    return home


def medrag_chunk(home: Path) -> Path:
    return medrag(home) / "chunk"


def medrag_file(home: Path) -> Path:
    medrag(home)
    lines = [(home / "chunk" / f"{row['id']}.jsonl").read_text() for row in ROWS]
    (home / "one.jsonl").write_text("".join(lines))
    return home / "one.jsonl"


def one_parquet(home: Path) -> Path:
    return parquet(home / "docs.parquet", ROWS)


def downloaded(home: Path) -> Path:
    for n, row in enumerate(ROWS):
        parquet(home / "data" / f"train-0000{n}-of-00002.parquet", [row])
    return home


def saved(home: Path) -> Path:
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(ROWS).save_to_disk(home)
    return home


def hub(home: Path) -> Path:
    return Path(f"hf:{downloaded(home)}")


LAYOUTS = [beir, shared, medrag, medrag_chunk, medrag_file, one_parquet, downloaded, saved, hub]


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("make", LAYOUTS, ids=lambda make: make.__name__)
async def test_every_layout_gives_the_same_documents(make: Any, tmp_path: Path) -> None:
    path = make(tmp_path / "corpus")
    assert list(Corpus(path)) == FOUND
    assert Corpus(path).get(["b", "a"]) == FOUND[::-1]
    built = BM25Retriever(path, tmp_path / "index", progress=Silent())
    assert [p.id for p in await built.search("anaemia", 1)] == ["b"]
    await built.close()
    again = BM25Retriever.open(tmp_path / "index", progress=Silent())
    assert [p.id for p in await again.search("colds", 1)] == ["a"]
    await again.close()


@pytest.mark.parametrize("make", [medrag, one_parquet, downloaded, saved], ids=lambda make: make.__name__)
def test_a_changed_corpus_has_another_fingerprint(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Corpus(make(tmp_path / "one"))
    assert Corpus(make(tmp_path / "two")).fingerprint == before.fingerprint
    monkeypatch.setitem(ROWS[1], "text", "Iron for nothing.")
    after = Corpus(make(tmp_path / "three"))
    assert after.fingerprint != before.fingerprint
    assert next(iter(after.get(["b"]))).text == "Iron for nothing."


def test_passages_that_name_their_document_keep_it(tmp_path: Path) -> None:
    row = {"passage_id": "pmid:1#0", "doc_id": "pmid:1", "section": "abstract", "text": "Cut before."}
    (found,) = Corpus(jsonl(tmp_path / "passages.jsonl.gz", [row]))
    assert (found.id, found.document, found.metadata) == ("pmid:1#0", "pmid:1", {"section": "abstract"})


def test_a_document_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    for name in ("twice.jsonl", "twice.jsonl.gz"):
        corpus = Corpus(jsonl(tmp_path / name, [*ROWS, ROWS[0]]))
        assert ([d.id for d in corpus], len(corpus), corpus.repeated) == (["a", "b"], 2, 1)


@pytest.mark.parametrize(
    ("make", "rows", "message"),
    [
        ("chunk/x.jsonl", [{"title": "T", "content": "no name"}], r"chunk/x\.jsonl:1: no id"),
        ("chunk/x.jsonl", [{"id": "a", "content": 5}], r"chunk/x\.jsonl:1: document 'a' has no text"),
        ("x.parquet", [ROWS[0], {"id": None, "text": "x"}], r"x\.parquet: row 2: no id"),
        ("x.parquet", [{"name": "a", "text": "x"}], "row 1: no id .a string under one of id, _id"),
        (
            "x.parquet",
            [ROWS[0], ROWS[0] | {"text": "y"}],
            "id 'a' was already used before, with another text",
        ),
        (
            "corpus.jsonl",
            [ROWS[0], ROWS[0] | {"text": "y"}],
            r"corpus\.jsonl:2: id 'a' was already used in line 1",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    tmp_path: Path, make: str, rows: list[dict[str, Any]], message: str
) -> None:
    (parquet if make.endswith("parquet") else jsonl)(tmp_path / make, rows)
    with pytest.raises(CorpusError, match=message):
        len(Corpus(tmp_path))


def test_what_is_no_corpus_is_said(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"holds no corpus of a known format: no corpus\.jsonl \(BEIR\)"):
        Corpus(tmp_path)
    jsonl(tmp_path / "queries.jsonl", [{"_id": "q", "text": "a question is no document"}])
    with pytest.raises(CorpusError, match="holds no corpus of a known format"):
        Corpus(tmp_path)
    (tmp_path / "x.parquet").write_text("not parquet")
    with pytest.raises(CorpusError, match="cannot be read as Parquet"):
        len(Corpus(tmp_path))
    with pytest.raises(CorpusError, match="write it as hf:NAME"):
        Corpus(Path("hf:a:b:c:d"))
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(CorpusError, match="cannot be read as a saved data set"):
        Corpus(tmp_path)


@pytest.mark.usefixtures("hub_cache")
def test_a_data_set_of_several_splits_needs_one_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        parquet(tmp_path / "set" / f"{split}-00000-of-00001.parquet", ROWS)
    with pytest.raises(CorpusError, match="has splits train, test: name one"):
        Corpus(Path(f"hf:{tmp_path}/set"))
    assert list(Corpus(Path(f"hf:{tmp_path}/set::test"))) == FOUND
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)})
    splits.save_to_disk(tmp_path / "saved")
    with pytest.raises(CorpusError, match="holds the splits train"):
        Corpus(tmp_path / "saved")


@pytest.mark.parametrize("ending", ["zst", "zip", "tar", "bz2", "xz"])
def test_a_corpus_that_is_packed_in_another_way_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"corpus.jsonl.{ending}"
    path.write_bytes(b"packed")
    with pytest.raises(CorpusError, match=rf"{ending}: a corpus may be packed by gzip only; unpack it first"):
        Corpus(path)
