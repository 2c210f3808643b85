"""ROUGE-SU4 as ROUGE-1.5.5 counts it (``-2 4 -u``), which rouge-score leaves out.

The units are ordered pairs of words with at most four words between them, and single words. The script does
not count the last word as a single word: published figures have this fault, so it is kept. Time is linear in
the text: five pairs per word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

GAP = 4  # the most words between the two words of a pair


class Overlap(NamedTuple):
    """Shared units / units of the reply, shared units / units of the reference, and the F1 of both."""

    precision: float
    recall: float
    fmeasure: float


def su4(reply: str, references: Sequence[str], stem: bool) -> Overlap:
    """Return the best overlap by F1 over the references. A text of fewer than two words scores 0."""
    units = _units(reply, stem)
    overlaps = (_overlap(units, _units(text, stem)) for text in references)
    return max(overlaps, key=lambda overlap: overlap.fmeasure)


def _units(text: str, stem: bool) -> Counter[tuple[str, ...]]:
    words = tokenizer_of(stem).tokenize(text)
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
def tokenizer_of(stem: bool) -> Any:
    """Return rouge-score's tokenizer."""
    try:
        from rouge_score_rs.tokenizers import DefaultTokenizer
    except ImportError:  # no wheel for this platform
        from rouge_score.tokenizers import DefaultTokenizer
    return DefaultTokenizer(use_stemmer=stem)
