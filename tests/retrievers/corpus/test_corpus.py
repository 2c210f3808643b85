"""Corpora: reading by id, what is wrong with a file and where."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest
from evalkit_retrievers.corpus.corpus import Corpus, indexed_text
from evalkit_retrievers.corpus.jsonl import Fields

from evalkit.errors import CorpusError


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_documents_are_found_by_id_in_the_order_asked_for(
    write: Any, documents: list[dict[str, Any]], name: str
) -> None:
    corpus = Corpus(write(documents, name))
    ids = [documents[n]["id"] for n in (7, 0, 31, 7)]
    assert [p.id for p in corpus.get(ids)] == ids
    assert len(corpus) == len(documents)
    assert [p.id for p in corpus] == [row["id"] for row in documents]
    (found,) = corpus.get(["aspirin-gout"])
    assert found.title == "Aspirin in gout"
    assert found.text == documents[4]["text"]
    assert found.metadata == {"year": 1994}
    assert found.document == "aspirin-gout"


def test_ids_may_have_any_of_three_names_and_be_numbers(write: Any) -> None:
    rows = [{"id": "a", "text": "one"}, {"_id": 2, "text": "two"}, {"doc_id": "ü", "text": "drei\u2028€"}]
    corpus = Corpus(write(["\ufeff" + '{"id": "bom", "text": "x"}', *rows, "", "  "]))
    assert [p.text for p in corpus.get(["ü", "2", "a", "bom"])] == ["drei\u2028€", "two", "one", "x"]


def test_a_passage_may_name_its_document(write: Any) -> None:
    corpus = Corpus(write([{"id": "12#3", "doc_id": "12", "text": "Cut before."}]))
    assert corpus.get(["12#3"])[0].document == "12"


def test_a_title_alone_is_a_document_and_the_indexed_text_is_stripped(write: Any) -> None:
    corpus = Corpus(
        write([{"id": "t", "title": "Only a title", "text": ""}, {"id": "x", "text": "Only text"}])
    )
    assert [indexed_text(p) for p in corpus] == ["Only a title", "Only text"]


def test_the_fingerprint_is_that_of_the_content_packed_or_not(write: Any) -> None:
    plain, packed = write([{"id": "a", "text": "x"}]), write([{"id": "a", "text": "x"}], "c.jsonl.gz")
    assert Corpus(plain).fingerprint == hashlib.sha256(plain.read_bytes()).hexdigest()
    assert Corpus(packed).fingerprint == Corpus(plain).fingerprint
    assert Corpus(write([{"id": "a", "text": "y"}])).fingerprint != Corpus(packed).fingerprint


GOOD = '{"id": "a", "text": "fine"}'


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ([GOOD, '{"id": "b", '], 2, "not JSON"),
        ([GOOD, "", "just words"], 3, "not JSON"),
        ([GOOD, '["a", "b"]'], 2, "a JSON list"),
        ([GOOD, '{"text": "no name"}'], 2, "no id"),
        ([GOOD, '{"id": null, "text": "x"}'], 2, "no id"),
        ([GOOD, '{"id": "b", "title": "only"}'], 2, "document 'b' has no text"),
        ([GOOD, '{"id": "b", "text": 5}'], 2, "document 'b' has no text"),
        ([GOOD, '{"id": "b", "abstract": "x"}'], 2, "Its fields are abstract: --text-field NAME"),
        ([GOOD, '{"id": ' + "[" * 100_000], 2, "not JSON"),
        ([GOOD, '{"id": "b", "text": "x"}', '{"_id": "a", "text": "again"}'], 3, "already used in line 1"),
    ],
)
@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_a_broken_line_is_named(write: Any, lines: list[str], line: int, message: str, name: str) -> None:
    path = write(lines, name)
    with pytest.raises(CorpusError) as caught:
        len(Corpus(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def test_bytes_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(GOOD.encode() + b'\n{"id": "b", "text": "caf\xe9"}\n')
    with pytest.raises(CorpusError, match=":2: not JSON"):
        len(Corpus(path))


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_corpus_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match="no documents"):
        len(Corpus(path))


def test_a_missing_or_damaged_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file"):
        Corpus(tmp_path / "nowhere.jsonl")
    for name, content in {"cut.jsonl.gz": gzip.compress(b"x" * 999)[:-9], "not.jsonl.gz": b"plain"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorpusError, match="damaged gzip"):
            len(Corpus(tmp_path / name))


def test_an_unknown_id_is_an_error_with_the_nearest_one(write: Any, documents: list[dict[str, Any]]) -> None:
    with pytest.raises(CorpusError, match=r"no document 'asprin-gout'.*'aspirin-gout'"):
        Corpus(write(documents)).get(["asprin-gout"])


def test_ids_that_share_a_hash_are_told_apart(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit_retrievers.corpus.corpus._hash", lambda id: len(id))
    rows = [{"id": id, "text": f"text {id}"} for id in ("a", "b", "aa", "c", "b")]
    corpus = Corpus(write(rows))
    assert [p.text for p in corpus.get(["c", "b", "aa", "a"])] == ["text c", "text b", "text aa", "text a"]
    assert [p.id for p in corpus] == ["a", "b", "aa", "c"]
    assert (len(corpus), corpus.repeated) == (4, 1)
    with pytest.raises(CorpusError, match=r":4: id 'b' was already used in line 2"):
        len(Corpus(write([*rows[:2], rows[2], {"id": "b", "text": "other"}], "other.jsonl")))


def test_a_file_that_changes_under_way_is_noticed(write: Any) -> None:
    path = write([{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    corpus = Corpus(path)
    corpus.get(["b"])
    write([{"id": "b", "text": "two"}, {"id": "a", "text": "one"}])
    with pytest.raises(CorpusError, match="changed while it was in use"):
        corpus.get(["b"])


def test_documents_without_title_and_text_are_counted_and_left_out(write: Any) -> None:
    empty = [{"id": "e1", "title": "", "text": " "}, {"id": "e2", "title": None, "text": None}, {"id": "e3"}]
    corpus = Corpus(write([{"id": "a", "text": "one"}, *empty, {"id": "b", "title": "two", "text": ""}]))
    assert [document.id for document in corpus] == ["a", "b"]
    assert (len(corpus), corpus.empty) == (2, 3)
    assert corpus.unknown(["e1", "none"]) == ["none"]
    assert [document.text for document in corpus.get(["e2", "a"])] == ["", "one"]
    with pytest.raises(CorpusError, match="none of its 3 documents has a title or a text"):
        len(Corpus(write(empty, "empty.jsonl")))


def test_title_and_text_may_have_other_names(write: Any) -> None:
    path = write([{"id": n, "headline": f"Zinc {n}", "abstract": "Colds.", "year": n} for n in range(3)])
    corpus = Corpus(path, fields=Fields("headline", "abstract"))
    first = next(iter(corpus))
    assert (first.title, first.text, first.metadata, corpus.untitled) == (
        "Zinc 0",
        "Colds.",
        {"year": 0},
        None,
    )
    untitled = Corpus(path, fields=Fields(text="abstract"))
    assert (len(untitled), untitled.untitled) == (3, "headline")
    with pytest.raises(CorpusError, match="no document has a title under 'head'"):
        len(Corpus(path, fields=Fields("head", "abstract")))


def test_a_line_that_is_too_long_is_refused(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_MAX_RECORD_MB", "1")
    for name in ("long.jsonl", "long.jsonl.gz"):
        path = write([GOOD, {"id": "b", "text": "a " * 600_000}], name)
        with pytest.raises(
            CorpusError, match=rf"{name}:2: the line has more than 1 MiB.*EVALKIT_MAX_RECORD_MB=4"
        ):
            len(Corpus(path))
        monkeypatch.setenv("EVALKIT_MAX_RECORD_MB", "4")
        assert len(Corpus(path)) == 2
        monkeypatch.setenv("EVALKIT_MAX_RECORD_MB", "1")
