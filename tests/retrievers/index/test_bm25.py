"""BM25: what its options may be, and words of any script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evalkit_retrievers.index.bm25 import BM25Retriever
from evalkit_retrievers.index.hybrid import HybridRetriever
from evalkit_retrievers.index.indexed import IndexedRetriever

from evalkit.errors import UsageError
from evalkit.util.progress import Silent


@pytest.fixture
def corpus(write: Any, documents: list[dict[str, Any]]) -> Path:
    path: Path = write(documents)
    return path


@pytest.mark.parametrize(
    ("option", "value"),
    [("b", v) for v in (2, -1, "nan", "inf")] + [("k1", v) for v in (-1, "nan", "inf", 1e30)],
)
@pytest.mark.parametrize("cls", [BM25Retriever, HybridRetriever])
def test_bm25_is_refused_outside_its_range(
    cls: type[IndexedRetriever], corpus: Path, tmp_path: Path, option: str, value: Any
) -> None:
    with pytest.raises(UsageError, match=f"{option} is .*, but must be a number from 0 to"):
        cls(corpus, tmp_path / "index", progress=Silent(), **{option: value})
    cls(corpus, tmp_path / "index", progress=Silent(), k1=0, b=1)


async def test_bm25_finds_words_of_scripts_without_spaces(write: Any, tmp_path: Path) -> None:
    texts = {
        "a": "糖尿病患者应定期检查血糖。",
        "b": "血糖升高时请就医，HbA1c 也要检查。",
        "c": "痛風は痛い病気です。",
        "d": "โรคเกาต์เป็นโรคที่เจ็บปวด",
        "e": "통풍은 아픈 병이다.",
        "f": "Zinc lozenges for colds.",
    }
    path = write([{"id": id, "text": text} for id, text in texts.items()])
    made = BM25Retriever(path, tmp_path / "index", progress=Silent())
    queries = {
        "血糖": "ab",
        "检查 血糖": "ab",
        "HbA1c": "b",
        "痛風": "c",
        "เกาต์": "d",
        "통풍": "e",
        "ＺＩＮＣ": "f",
    }
    for query, expected in queries.items():
        assert {p.id for p in await made.search(query, len(expected))} == set(expected), query
    assert await made.search("肺炎", 3) == []
    await made.close()
