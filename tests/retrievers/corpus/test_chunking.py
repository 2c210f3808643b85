"""Chunks: by words, tokens, sentences, inside sections; what is the same twice."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from evalkit_retrievers.corpus.chunking import Chunking, chunk
from evalkit_retrievers.encoding.model_files import find_model
from evalkit_retrievers.encoding.recipes import DEFAULT_MODEL
from evalkit_retrievers.index.bm25 import BM25Retriever
from hypothesis import given
from hypothesis import strategies as st

from evalkit.data.sentences import split_sentences
from evalkit.errors import CorpusError, IndexMismatch, SetupError, UsageError
from evalkit.types import Passage
from evalkit.util.progress import Silent

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
    with pytest.raises(UsageError, match="a size of at least 1"):
        chunk(Passage("d", TEXT), max_words, overlap)


def test_chunks_of_sentences() -> None:
    cut = Chunking(chunk_sentences=2, overlap=1).cutter()
    assert [c.text for c in cut(Passage("d", TEXT))] == [
        "One two three. Four five six.",
        "Four five six. Seven eight nine.",
        "Seven eight nine. Ten eleven.",
        "Ten eleven. Twelve.",
    ]


def test_chunks_of_tokens_hold_as_many_as_the_tokenizer_says() -> None:
    from transformers import AutoTokenizer

    text = (
        "Pharmacokinetics of hydroxychloroquine were nonlinear. Electroencephalography showed nothing. "
        "Thromboembolism was rarer (0.4%)."
    )
    reference = AutoTokenizer.from_pretrained(str(find_model(DEFAULT_MODEL)))

    def count(words: str) -> int:
        return len(reference(words, add_special_tokens=False)["input_ids"])

    for size in (5, 12, 20):
        chunks = [c.text for c in Chunking(chunk_tokens=size).cutter()(Passage("d", text))]
        assert "".join(chunks).replace(" ", "") == text.replace(" ", "")
        assert len(chunks) >= count(text) / size
    sentences = [count(s) for s in split_sentences(text)]
    first_two = Chunking(chunk_tokens=sum(sentences[:2])).cutter()(Passage("d", text))
    assert [len(split_sentences(c.text)) for c in first_two] == [2, 1]
    one_less = Chunking(chunk_tokens=sum(sentences[:2]) - 1).cutter()(Passage("d", text))
    assert len(split_sentences(one_less[0].text)) == 1


SECTIONS = [["BACKGROUND", "Why we did it."], ["RESULTS", "It worked. It was safe."], ["", "Funded by none."]]


def test_no_chunk_crosses_the_border_of_a_section() -> None:
    document = Passage("d", "Why we did it. It worked.", "T", metadata={"year": 1, "sections": SECTIONS})
    found = Chunking(chunk_sections=True).cutter()(document)
    assert [(c.id, c.text, c.metadata) for c in found] == [
        ("d#0", "Why we did it.", {"year": 1, "section": "BACKGROUND"}),
        ("d#1", "It worked. It was safe.", {"year": 1, "section": "RESULTS"}),
        ("d#2", "Funded by none.", {"year": 1}),
    ]
    smaller = Chunking(chunk_sections=True, chunk_sentences=1).cutter()(document)
    assert [c.text for c in smaller] == ["Why we did it.", "It worked.", "It was safe.", "Funded by none."]
    (plain,) = Chunking(chunk_sections=True).cutter()(Passage("d", "No sections  here."))
    assert (plain.text, plain.metadata, plain.document) == ("No sections here.", {}, "d")


def test_sections_of_another_form_are_named() -> None:
    with pytest.raises(CorpusError, match="document 'd': its sections are no list"):
        Chunking(chunk_sections=True).cutter()(Passage("d", "x", metadata={"sections": {"RESULTS": "x"}}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunk_words": 5, "chunk_tokens": 5}, "only one of"),
        ({"overlap": 1, "chunk_sections": True}, "overlap has a meaning only"),
        ({"tokenizer": "x"}, "tokenizer has a meaning only"),
        ({"chunk_sentences": 0}, "at least 1"),
    ],
)
def test_options_that_contradict_each_other(write: Any, options: dict[str, Any], message: str) -> None:
    path = write([{"id": "a", "text": "x"}])
    with pytest.raises(UsageError, match=message):
        BM25Retriever(path, path.parent / "index", progress=Silent(), **options)


def test_a_model_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"has no tokenizer\.json"):
        Chunking(chunk_tokens=5, tokenizer=str(tmp_path)).cutter()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SetupError, match="no tokenizer could be read"):
        Chunking(chunk_tokens=5, tokenizer=str(tmp_path)).cutter()


async def test_copies_are_counted_and_left_out_only_when_asked(
    write: Any, documents: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write(documents)
    for deduplicate, expected in ((False, 3), (True, 1)):
        made = BM25Retriever(path, tmp_path / str(deduplicate), progress=Silent(), deduplicate=deduplicate)
        found = await made.search("metformin in thrombosis", 5)
        copies = [p.id for p in found if p.id in ("a-copy", "metformin-thrombosis", "z-copy")]
        assert copies == ["a-copy", "metformin-thrombosis", "z-copy"][:expected]
        facts = made.describe()
        assert facts["n_copies"] == 2
        assert facts["n_passages"] == len(documents) - (2 if deduplicate else 0)
        await made.close()
    with pytest.raises(IndexMismatch, match="deduplicate is True in the index"):
        BM25Retriever(path, tmp_path / "True", progress=Silent())


async def test_found_chunks_know_document_and_section(write: Any, tmp_path: Path) -> None:
    rows = [{"id": "a#1", "title": "Zinc", "text": "x", "sections": SECTIONS}]
    made = BM25Retriever(write(rows), tmp_path / "index", progress=Silent(), chunk_sections=True)
    (best, *_) = await made.search("was it safe", 1)
    await made.close()
    assert (best.id, best.document, best.text) == ("a#1#1", "a#1", "It worked. It was safe.")
    assert best.metadata == {"section": "RESULTS"}
