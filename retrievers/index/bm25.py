"""Lexical retrieval: BM25 as Lucene computes it, English stop words, Porter's stems."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.errors import CorpusError
from evalkit.protocols import Check
from evalkit.types import Passage

from ..corpus.corpus import indexed_text
from .engine import Engine, Options
from .indexed import IndexedRetriever
from .topk import Hits, best
from .verify import check_count

K1, B = 0.9, 0.4  # Anserini's defaults
_WORD = r"(?u)\b\w+\b"  # one letter is a word: "vitamin D", "hepatitis B"
_BLOCK = 4_096  # texts cut into words at once
_ANALYSIS = "words, lower case, Lucene's English stop words, Porter stems"


class BM25Options(Options, frozen=True, kw_only=True):
    """Saturation ``k1`` and length normalization ``b``."""

    k1: float = K1
    b: float = B


class Words(Sequence[list[int]]):
    """The terms of every text as numbers, four bytes each."""

    def __init__(self) -> None:
        self._all, self._ends = array("i"), array("q", [0])

    def append(self, terms: Iterable[int]) -> None:
        """Add those of the next text."""
        self._all.extend(terms)
        self._ends.append(len(self._all))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: Any) -> Any:
        """Those of one text; no slices."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self._all[self._ends[row] : self._ends[row + 1]].tolist()


class LexicalEngine:
    """An index of bm25s: the scores of all terms in all texts, computed beforehand."""

    def __init__(self, k1: float, b: float) -> None:
        self._k1, self._b = k1, b
        self._index: Any = None
        self._stemmer: Any = None

    def identity(self) -> dict[str, Any]:
        """The formula and the analysis of texts."""
        return {"method": "lucene", "k1": self._k1, "b": self._b, "analysis": _ANALYSIS}

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Count and write. Raises ``CorpusError`` where no text holds a word to search."""
        import bm25s
        from bm25s.tokenization import Tokenized

        vocabulary: dict[str, int] = {}
        words = Words()
        for start in range(0, len(passages), _BLOCK):
            rows = range(start, min(start + _BLOCK, len(passages)))
            for tokens in self._tokens([indexed_text(passages[row]) for row in rows]):
                words.append(vocabulary.setdefault(token, len(vocabulary)) for token in tokens)
        if not vocabulary:
            raise CorpusError("no document holds a word that BM25 could search (stop words do not count)")
        index = bm25s.BM25(method="lucene", k1=self._k1, b=self._b, backend="numpy")
        index.index(Tokenized(ids=words, vocab=vocabulary), show_progress=False)
        index.save(str(folder), show_progress=False)
        return {}

    def load(self, folder: Path) -> None:
        """Map the scores of the terms into memory: a search reads those of its own."""
        import bm25s

        self._index = bm25s.BM25.load(str(folder), mmap=True, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """The best of the rows that share a term with the query."""
        found = []
        for tokens in self._tokens(queries):
            scores = self._index.get_scores_from_ids(self._index.get_tokens_ids(tokens))
            rows = np.flatnonzero(scores > 0)
            found.append(best(scores[rows], k, rows))
        return found

    def check(self, n: int, some: Mapping[int, Passage]) -> list[Check]:
        """Rows, and that each of some passages is found by its own words."""
        lost = []
        for row, tokens in zip(some, self._tokens([indexed_text(p) for p in some.values()]), strict=True):
            scores = self._index.get_scores_from_ids(self._index.get_tokens_ids(tokens))
            if tokens and not scores[row] > 0:
                lost.append(some[row].id)
        found = f"{', '.join(lost)}: not found by their own words" if lost else f"{len(some)} find themselves"
        return [
            check_count("rows of BM25", int(self._index.scores["num_docs"]), n),
            Check("words", not lost, found),
        ]

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        import bm25s
        import Stemmer

        self._stemmer = self._stemmer or Stemmer.Stemmer("porter")
        tokens: list[list[str]] = bm25s.tokenize(
            list(texts),
            token_pattern=_WORD,
            stopwords="en",
            stemmer=self._stemmer,
            return_ids=False,
            show_progress=False,
        )
        return tokens


class BM25Retriever(IndexedRetriever):
    """Options: ``k1``, ``b``, ``chunk_words``, ``overlap``."""

    kind = "bm25"
    options_type = BM25Options
    packages = ("bm25s", "PyStemmer")

    def _make_engine(self) -> Engine:
        assert isinstance(self.options, BM25Options)
        return LexicalEngine(self.options.k1, self.options.b)
