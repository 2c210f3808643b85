"""Lexical retrieval: BM25 in Lucene's variant, with English stop words and Porter's stemmer.

Scripts without spaces between words are searched by single characters and by pairs of neighbours, as Lucene's
analyzer of Chinese, Japanese and Korean does.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.data.words import WORD, words
from evalkit.errors import CorpusError
from evalkit.protocols import Check
from evalkit.reading.fold import fold
from evalkit.types import Passage

from ..corpus.corpus import indexed_text
from ..corpus.passages import damaged
from .engine import Engine, Options
from .indexed import IndexedRetriever
from .topk import Hits, best
from .verify import check_count

K1, B = 0.9, 0.4  # Anserini's defaults
_MOST_K1 = 1e6  # scores are single-precision numbers
_BLOCK = 4_096  # texts tokenized at once
# One letter is a word: "vitamin D", "hepatitis B".
_ANALYSIS = (
    "words of letters and digits, lower case, Lucene's English stop words, Porter stems; "
    "Han, kana, Hangul, Thai, Lao, Khmer and Burmese by characters and pairs of characters"
)


class BM25Options(Options, frozen=True, kw_only=True):
    """Options of BM25: saturation ``k1`` and length normalization ``b``, besides those of every index."""

    k1: float = K1
    b: float = B

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bm25(self.k1, self.b)


def check_bm25(k1: float, b: float) -> None:
    """Raise ``ValueError`` for values outside the formula's range."""
    if not 0 <= k1 <= _MOST_K1:
        raise ValueError(f"k1 is {k1}, but must be a number from 0 to {_MOST_K1:,.0f}")
    if not 0 <= b <= 1:
        raise ValueError(f"b is {b}, but must be a number from 0 to 1")


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
        term_ids, n_silent = TermIds(), 0
        for start in range(0, len(passages), _BLOCK):
            rows = range(start, min(start + _BLOCK, len(passages)))
            for tokens in self._tokens([indexed_text(passages[row]) for row in rows]):
                term_ids.append(vocabulary.setdefault(token, len(vocabulary)) for token in tokens)
                n_silent += not tokens
        if not vocabulary:
            raise CorpusError("no document has a word that BM25 could search (stop words do not count)")
        index = bm25s.BM25(method="lucene", k1=self._k1, b=self._b, backend="numpy")
        index.index(Tokenized(ids=term_ids, vocab=vocabulary), show_progress=False)
        index.save(str(folder), show_progress=False)
        return {"bm25": {"passages_without_words": n_silent}} if n_silent else {}

    def load(self, folder: Path) -> int:
        """Map the scores into memory; a search reads only those of its own terms. Nothing is unpickled."""
        import bm25s

        try:
            self._index = bm25s.BM25.load(
                str(folder), mmap=True, show_progress=False, method="lucene", backend="numpy"
            )
            self._folder = folder
            return _check_parts(self._index)
        except (
            OSError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            EOFError,
            RecursionError,
        ) as error:
            raise damaged(folder, error) from None

    def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """Return the best of the rows that share a term with the query."""
        rankings = []
        for tokens in self._tokens(queries):
            scores = self._scores(tokens)
            rows = np.flatnonzero(scores > 0)
            rankings.append(best(scores[rows], k, rows))
        return rankings

    def _scores(self, tokens: list[str]) -> Any:
        try:
            return self._index.get_scores_from_ids(self._index.get_tokens_ids(tokens))
        except (IndexError, ValueError) as error:
            raise damaged(self._folder, error) from None

    def check(self, n: int, sample: Mapping[int, Passage]) -> list[Check]:
        """Check the number of rows, and that each passage of the sample is found by its own words."""
        lost = []
        for row, tokens in zip(sample, self._tokens([indexed_text(p) for p in sample.values()]), strict=True):
            if tokens and not self._scores(tokens)[row] > 0:
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
            [text if text.isascii() else " ".join(words(fold(text), pairs=True)) for text in texts],
            token_pattern=WORD,
            stopwords="en",
            stemmer=self._stemmer,
            return_ids=False,
            show_progress=False,
        )
        return tokens


def _check_parts(index: Any) -> int:
    """Return the number of rows. Raises ``ValueError`` for parts of an index that do not fit together."""
    scores, n = index.scores, index.scores["num_docs"]
    data, rows, ends = (scores[name] for name in ("data", "indices", "indptr"))
    vocabulary = index.vocab_dict if isinstance(index.vocab_dict, dict) else {}
    terms = [term for word, term in vocabulary.items() if word]  # bm25s adds an empty word that has no scores
    if type(n) is not int or n < 1 or not terms or not all(type(term) is int for term in terms):
        raise ValueError("its number of rows or its words cannot be read")
    kinds = (data.dtype.kind, rows.dtype.kind, ends.dtype.kind)
    if kinds != ("f", "i", "i") or any(array.ndim != 1 for array in (data, rows, ends)):
        raise ValueError("its arrays are of the wrong kind")
    fits = len(data) == len(rows) and len(ends) > 0 and ends[0] == 0 and ends[-1] == len(data)
    if not fits or (np.diff(ends) < 0).any() or not 0 <= min(terms) <= max(terms) < len(ends) - 1:
        raise ValueError("its arrays and its words do not belong together")
    return n


class BM25Retriever(IndexedRetriever):
    """Options: ``k1``, ``b``, ``chunk_words``, ``overlap``."""

    kind = "bm25"
    options_type = BM25Options
    packages = ("bm25s", "PyStemmer")

    def _make_engine(self) -> Engine:
        assert isinstance(self.options, BM25Options)
        return LexicalEngine(self.options.k1, self.options.b)
