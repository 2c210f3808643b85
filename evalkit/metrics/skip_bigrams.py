"""ROUGE-SU4 as ROUGE-1.5.5 counts it (``-2 4 -u``), which rouge-score leaves out.

Counted are pairs of words with at most four others between them, in their order, and single words. The
script counts every word as a single one but the last: published figures have this fault, so it is kept.
Linear in the text: five pairs a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

GAP = 4


class Overlap(NamedTuple):
    """Shared units over those of the reply, over those of the reference, and the F1 of both."""

    precision: float
    recall: float
    fmeasure: float


def su4(reply: str, references: Sequence[str], stem: bool) -> Overlap:
    """Of the reference with the highest F1. A text of fewer than two words has no units and scores 0."""
    units = _units(reply, stem)
    return max((_overlap(units, _units(text, stem)) for text in references), key=lambda found: found.fmeasure)


def _units(text: str, stem: bool) -> Counter[tuple[str, ...]]:
    words = _tokenizer(stem).tokenize(text)
    units: Counter[tuple[str, ...]] = Counter((word,) for word in words[:-1])
    for distance in range(1, GAP + 2):
        units.update(zip(words, words[distance:], strict=False))
    return units


def _overlap(reply: Counter[Any], reference: Counter[Any]) -> Overlap:
    shared = (reply & reference).total()
    if not shared:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = shared / reply.total(), shared / reference.total()
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall))


@cache
def _tokenizer(stem: bool) -> Any:
    try:
        from rouge_score_rs.tokenizers import DefaultTokenizer
    except ImportError:  # no wheel for this platform
        from rouge_score.tokenizers import DefaultTokenizer
    return DefaultTokenizer(use_stemmer=stem)
