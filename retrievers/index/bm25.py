"""Lexical retrieval: BM25 in Lucene's variant, with English stop words and Porter's stemmer."""

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
_BLOCK = 4_096  # texts tokenized at once
_ANALYSIS = "words, lower case, Lucene's English stop words, Porter stems"


class BM25Options(Options, frozen=True, kw_only=True):
    """Options of BM25: saturation ``k1`` and length normalization ``b``, besides those of every index."""

    k1: float = K1
    b: float = B


class TermIds(Sequence[list[int]]):
    """The terms of every text as numbers of four bytes."""

    def __init__(self) -> None:
        self._ids, self._ends = array("i"), array("q", [0])

    def append(self, terms: Iterable[int]) -> None:
        """Add the terms of the next text."""
        self._ids.extend(terms)
        self._ends.append(len(self._ids))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: Any) -> Any:
        """Return the terms of one text; slices are not supported."""
        if not 0 <= row < len(self):
            raise IndexError(row)
        return self._ids[self._ends[row] : self._ends[row + 1]].tolist()


class LexicalEngine:
    """An index of bm25s, which computes the scores of all terms in all texts at build time."""

    def __init__(self, k1: float, b: float) -> None:
        self._k1, self._b = k1, b
        self._index: Any = None
        self._stemmer: Any = None

    def identity(self) -> dict[str, Any]:
        """Return the formula and the analysis of texts."""
        return {"method": "lucene", "k1": self._k1, "b": self._b, "analysis": _ANALYSIS}

    def build(self, passages: Sequence[Passage], folder: Path) -> dict[str, Any]:
        """Compute and write the scores. Raises ``CorpusError`` if no text has a word to search."""
        import bm25s
        from bm25s.tokenization import Tokenized

        vocabulary: dict[str, int] = {}
        term_ids = TermIds()
        for start in range(0, len(passages), _BLOCK):
            rows = range(start, min(start + _BLOCK, len(passages)))
            for tokens in self._tokens([indexed_text(passages[row]) for row in rows]):
                term_ids.append(vocabulary.setdefault(token, len(vocabulary)) for token in tokens)
        if not vocabulary:
            raise CorpusError("no document has a word that BM25 could search (stop words do not count)")
        index = bm25s.BM25(method="lucene", k1=self._k1, b=self._b, backend="numpy")
        index.index(Tokenized(ids=term_ids, vocab=vocabulary), show_progress=False)
        index.save(str(folder), show_progress=False)
        return {}

    def load(self, folder: Path) -> None:
        """Map the scores into memory; a search reads only those of its own terms."""
        import bm25s

        self._index = bm25s.BM25.load(str(folder), mmap=True, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """Return the best of the rows that share a term with the query."""
        rankings = []
        for tokens in self._tokens(queries):
            scores = self._index.get_scores_from_ids(self._index.get_tokens_ids(tokens))
            rows = np.flatnonzero(scores > 0)
            rankings.append(best(scores[rows], k, rows))
        return rankings

    def check(self, n: int, sample: Mapping[int, Passage]) -> list[Check]:
        """Check the number of rows, and that each passage of the sample is found by its own words."""
        lost = []
        for row, tokens in zip(sample, self._tokens([indexed_text(p) for p in sample.values()]), strict=True):
            scores = self._index.get_scores_from_ids(self._index.get_tokens_ids(tokens))
            if tokens and not scores[row] > 0:
                lost.append(sample[row].id)
        found = f"not found: {', '.join(lost)}" if lost else f"all {len(sample)} passages are found"
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
