"""What an index says of the passages and titles that its searches do not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evalkit_retrievers.index.bm25 import BM25Retriever
from evalkit_retrievers.index.dense import FaissRetriever

from evalkit.errors import IndexMismatch
from evalkit.util.progress import Silent


async def test_passages_cut_by_the_encoder_are_counted(write: Any, tmp_path: Path, caplog: Any) -> None:
    long = "Background sentence about nothing in particular. " * 60
    rows = [{"id": n, "text": f"{long}{n}"} for n in "ab"] + [{"id": "c", "text": "Zinc."}]
    for _ in range(2):  # the second build reads all vectors from the cache
        caplog.clear()
        made = FaissRetriever(write(rows), tmp_path / f"index{_}", progress=Silent())
        await made.prepare()
        assert made.describe()["facts"]["encoder"]["passages_cut"] == 2
        (note,) = made.describe()["notes"]
        assert note.startswith("2 of 3 passages are longer than the 256 tokens that the encoder reads")
        assert note in caplog.text
        assert [check.found for check in await made.verify() or () if check.name == "note"] == [note]
        await made.close()
    short = FaissRetriever(write(rows), tmp_path / "short", progress=Silent(), chunk_tokens=200)
    await short.prepare()
    assert (short.describe()["facts"]["encoder"]["passages_cut"], short.describe()["notes"]) == (0, [])
    await short.close()


async def test_titles_under_another_name_are_named_or_searched(write: Any, tmp_path: Path) -> None:
    path = write([{"id": n, "Article_Title": f"Zinc {n}", "body": "Colds."} for n in range(3)])
    plain = BM25Retriever(path, tmp_path / "plain", progress=Silent(), text_field="body")
    assert await plain.search("zinc", 1) == []
    (note,) = plain.describe()["notes"]
    assert "the field 'Article_Title' may hold it: --title-field Article_Title" in note
    await plain.close()
    options = {"text_field": "body", "title_field": "Article_Title"}
    titled = BM25Retriever(path, tmp_path / "titled", progress=Silent(), **options)
    (found,) = await titled.search("zinc", 1)
    assert (found.title, titled.describe()["notes"]) == ("Zinc 0", [])
    await titled.close()
    with pytest.raises(IndexMismatch, match="title_field is 'Article_Title' in the index, None now"):
        BM25Retriever(path, tmp_path / "titled", progress=Silent(), text_field="body")
