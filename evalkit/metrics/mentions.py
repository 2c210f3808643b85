"""Mentions in a reply: numbers that its sources do not hold, names that it shares with a reference.

Mentions are found by rules, so that the same text gives the same mentions everywhere. Every pattern takes
time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from typing import Literal, get_args

from evalkit.data.sentences import split_sentences
from evalkit.metric import Metric, check_option
from evalkit.metrics.sources import Source, checked, plain_reply, source_texts
from evalkit.metrics.text import scored
from evalkit.reading.fold import fold
from evalkit.reading.numbers import find_numbers
from evalkit.reading.patterns import regex
from evalkit.types import Answer, Sample

Stat = Literal["f", "precision", "recall"]

_LEVEL = regex(r"\b9[059]\s?(?:%|percent|per cent)[\s-]?(?:CI|confidence|credible)", re.IGNORECASE)
_ITEM = regex(r"^\s*(?:#{1,6}\s+)?[*_]{0,3}\(?\d{1,2}\\?[.)][*_]{0,3}\s")
_WORD = regex(r"[^\W_]+(?:[-/][^\W_]+)*")
# Endings of drug names: the World Health Organization's stems of nonproprietary names.
_SUBSTANCE = regex(
    r"[a-z]{3,}(?:mab|nib|statin|pril|prilat|sartan|olol|azole|azolam|azepam|cillin|cycline|mycin|micin|floxacin"
    r"|vir|vudine|tide|gliptin|gliflozin|glitazone|formin|parin|xaban|gatran|platin|rubicin|taxel|trexate|setron"
    r"|triptan|dipine|semide|thiazide|oxetine|pramine|prazole|tidine|sone|solone|cept|kinra|lukast|dronate)"
)


def numbers(text: str, *, words: bool = False) -> list[Decimal]:
    """Return the numbers in digits, in order, without signs; then those in ``words`` (``reading.numbers``).

    The level of a confidence interval and the number of a list item are left out.
    """
    text = _LEVEL.sub(" CI", _ITEM.sub("", fold(text)))
    return [abs(number) for number in find_numbers(text, words=words)]


def entities(text: str) -> set[str]:
    """Return the names in a text, in lower case, word by word.

    A name is a word with a digit and a letter (``p53``, ``IL-6``), with a capital after its first letter
    (``COPD``, ``mRNA``), with a capital inside a sentence (``Crohn``), or with the ending of a drug's
    nonproprietary name (``metformin``, ``adalimumab``). Units and plain words are not names.
    """
    names: set[str] = set()
    for sentence in split_sentences(fold(text)):
        for position, match in enumerate(_WORD.finditer(sentence)):
            word = match.group()
            letters, digits = any(map(str.isalpha, word)), any(map(str.isdigit, word))
            inner = any(map(str.isupper, word[1:]))
            if letters and (
                digits or inner or (position and word[0].isupper()) or _SUBSTANCE.fullmatch(word.lower())
            ):
                names.add(word.lower())
    return names


def unsupported_numbers(source: Source = "passages") -> Metric:
    """Return the share of the reply's numbers (in digits) that no source holds. Lower is better.

    A source may hold them in words. Numbers are compared by value, without sign: ``10^6``, ``10⁶`` and
    ``1,000,000`` are equal. A number with decimals is also supported by a source's number that rounds to it.
    A reply without numbers scores 0: read this metric beside one that rewards numbers. Does not apply where
    the prompt held no passages by design. Raises ``UsageError`` for an unknown source.
    """
    return Metric(
        "unsupported_numbers" + checked("unsupported_numbers", source),
        partial(_unsupported, source),
        higher_is_better=False,
        help="share of the reply's numbers that no source holds",
        version=2,
    )


def entity_overlap(stat: Stat = "f") -> Metric:
    """Return ``entity_f``, ``entity_precision`` or ``entity_recall``: names in the reply and the reference.

    ``entities`` says what a name is. The reference with the highest F1 counts, for every ``stat``. Does not
    apply where no reference holds a name. Raises ``UsageError`` for another stat.
    """
    check_option("entity_overlap", stat, get_args(Stat))
    return Metric(
        f"entity_{stat}",
        partial(_entities, stat),
        help=f"names shared with the reference ({stat})",
        version=2,
    )


def _unsupported(source: Source, sample: Sample, answer: Answer) -> float | None:
    texts = source_texts(source, sample, answer)
    if texts is None:
        return None
    sourced = {number for text in texts for number in numbers(text, words=True)}
    written = [number for line in plain_reply(answer).splitlines() for number in numbers(line)]
    return sum(not _supported(number, sourced) for number in written) / len(written) if written else 0.0


def _supported(number: Decimal, sourced: Iterable[Decimal]) -> bool:
    last = int(number.as_tuple().exponent)  # 0: only the same number is equal; -1: also one that rounds to it
    reach = Decimal(1).scaleb(last) / 2 if last else Decimal(0)
    return any(abs(number - other) <= reach for other in sourced)


def _entities(stat: Stat, sample: Sample, answer: Answer) -> float | None:
    named = [target for target in sample.targets if entities(target)]
    if not named:
        return None
    return scored(partial(_overlap, stat), True, Sample(sample.id, sample.input, tuple(named)), answer)


def _overlap(stat: Stat, reply: str, references: tuple[str, ...]) -> float:
    mentioned = entities(reply)
    best = max((entities(text) for text in references), key=lambda names: _share(mentioned, names, "f"))
    return _share(mentioned, best, stat)


def _share(named: set[str], expected: set[str], stat: Stat) -> float:
    shared = len(named & expected)
    over = {"f": (len(named) + len(expected)) / 2, "precision": len(named), "recall": len(expected)}[stat]
    return shared / over if shared else 0.0
