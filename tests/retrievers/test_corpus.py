"""Corpora: reading by id, what is wrong with a file and where, passages."""

from __future__ import annotations

import gzip
import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from evalkit_retrievers.corpus import Corpus, chunk, indexed_text
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import CorpusError, UsageError
from evalkit.sentences import split_sentences
from evalkit.types import Passage


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
        ([GOOD, '{"id": "b", "text": " "}'], 2, "document 'b' is empty"),
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


def test_a_file_that_changes_under_way_is_noticed(write: Any) -> None:
    path = write([{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    corpus = Corpus(path)
    corpus.get(["b"])
    write([{"id": "b", "text": "two"}, {"id": "a", "text": "one"}])
    with pytest.raises(CorpusError, match="changed while it was in use"):
        corpus.get(["b"])


TEXT = "One two three. Four five six. Seven eight nine. Ten eleven. Twelve."


@pytest.mark.parametrize(
    ("max_words", "overlap", "expected"),
    [
        (100, 0, [TEXT]),
        (6, 0, ["One two three. Four five six.", "Seven eight nine. Ten eleven. Twelve."]),
        (
            6,
            1,
            [
                "One two three. Four five six.",
                "Four five six. Seven eight nine.",
                "Seven eight nine. Ten eleven. Twelve.",
            ],
        ),
        (3, 1, ["One two three.", "Four five six.", "Seven eight nine.", "Ten eleven. Twelve."]),
        (2, 0, ["One two", "three.", "Four five", "six.", "Seven eight", "nine. ", "Ten eleven.", "Twelve."]),
    ],
)
def test_chunks_end_where_sentences_do(max_words: int, overlap: int, expected: list[str]) -> None:
    chunks = chunk(Passage("d", TEXT, "Title", metadata={"year": 1}), max_words, overlap)
    assert [c.text for c in chunks] == [e.strip() for e in expected]
    assert [c.id for c in chunks] == [f"d#{n}" for n in range(len(expected))]
    assert all((c.doc_id, c.title, c.metadata) == ("d", "Title", {"year": 1}) for c in chunks)


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 12), st.integers(0, 4))
def test_chunks_hold_every_word_none_too_many_and_nothing_twice_in_full(
    lengths: list[int], max_words: int, overlap: int
) -> None:
    sentences = [" ".join([f"S{n}", *["word"] * (length - 1)]) + "." for n, length in enumerate(lengths)]
    text = " ".join(sentences)
    chunks = [c.text for c in chunk(Passage("d", text), max_words, overlap)]
    assert all(len(c.split()) <= max_words for c in chunks)
    assert not any(a in b for a, b in pairwise(chunks) if max_words >= max(lengths))
    if max_words >= max(lengths, default=1):
        assert dict.fromkeys(s for c in chunks for s in split_sentences(c)) == dict.fromkeys(sentences)
    if overlap == 0:
        assert " ".join(chunks) == text


@pytest.mark.parametrize(("max_words", "overlap"), [(0, 0), (5, -1)])
def test_chunks_need_sense(max_words: int, overlap: int) -> None:
    with pytest.raises(UsageError, match="max_words"):
        chunk(Passage("d", TEXT), max_words, overlap)
