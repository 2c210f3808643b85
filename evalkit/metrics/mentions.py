"""What a reply mentions: numbers that its sources do not hold, names that it shares with a reference.

Rules, so that the same text gives the same mentions everywhere; every pattern is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from typing import Literal, get_args

from evalkit.data.sentences import split_sentences
from evalkit.errors import UsageError, did_you_mean
from evalkit.metric import Metric
from evalkit.metrics.sources import Source, checked, plain_reply, source_texts
from evalkit.metrics.text import scored
from evalkit.types import Answer, Sample

Stat = Literal["f", "precision", "recall"]

_LEVEL = re.compile(r"\b9[059]\s?(?:%|percent|per cent)[\s-]?(?:CI|confidence|credible)", re.IGNORECASE)
_IDENTIFIER = re.compile(r"\b[^\W\d_]+-?\d[\w-]*")  # VRN-04412, CYP3A4
_ITEM = re.compile(r"^\s*\(?\d{1,2}[.)]\s")
_THOUSANDS = "[,\u2009\u202f\u00a0]"
_NUMBER = re.compile(
    rf"(?<![\w.])(?:\d{{1,3}}(?:{_THOUSANDS}\d{{3}}){{1,3}}|\d{{0,12}})(?:\.\d{{1,6}}|(?<=\d))(?!\d)"
)
_WORD = re.compile(r"[^\W_]+(?:[-/][^\W_]+)*")
# Endings of substances, by the World Health Organization's stems of nonproprietary names.
_SUBSTANCE = re.compile(
    r"[a-z]{3,}(?:mab|nib|statin|pril|prilat|sartan|olol|azole|azolam|azepam|cillin|cycline|mycin|micin|floxacin"
    r"|vir|vudine|tide|gliptin|gliflozin|glitazone|formin|parin|xaban|gatran|platin|rubicin|taxel|trexate|setron"
    r"|triptan|dipine|semide|thiazide|oxetine|pramine|prazole|tidine|sone|solone|cept|kinra|lukast|dronate)"
)


def numbers(text: str) -> list[Decimal]:
    """The numbers written in digits, in order, without signs: ``1,204``, ``1204``, ``.71``, ``0·71``.

    Left out: the level of a confidence interval, digits inside names and registration numbers, the number
    of a list item.
    """
    text = _ITEM.sub("", text.replace("·", "."))
    text = _IDENTIFIER.sub(" ", _LEVEL.sub(" CI", text))
    return [Decimal(re.sub(_THOUSANDS, "", found)) for found in _NUMBER.findall(text)]


def entities(text: str) -> set[str]:
    """The names in a text, in lower case, word by word.

    A name is a word with a digit and a letter (``p53``, ``IL-6``), with a capital behind its first letter
    (``COPD``, ``mRNA``), with a capital where no sentence begins (``Crohn``), or with the ending of a drug's
    nonproprietary name (``metformin``, ``adalimumab``). Units and plain words are none.
    """
    found: set[str] = set()
    for sentence in split_sentences(text):
        for place, match in enumerate(_WORD.finditer(sentence)):
            word = match.group()
            letters, digits = any(map(str.isalpha, word)), any(map(str.isdigit, word))
            inner = any(map(str.isupper, word[1:]))
            if letters and (
                digits or inner or (place and word[0].isupper()) or _SUBSTANCE.fullmatch(word.lower())
            ):
                found.add(word.lower())
    return found


def unsupported_numbers(source: Source = "passages") -> Metric:
    """Share of the numbers in the reply that stand in none of its sources. Lower is better.

    Numbers are compared by value, without sign; one with decimals is supported also where a source's number
    rounds to it. A reply without numbers has none without support: read it beside a metric that wants them.
    Does not apply where the prompt held no passages by design. Raises ``UsageError`` for an unknown source.
    """
    return Metric(
        "unsupported_numbers" + checked("unsupported_numbers", source),
        partial(_unsupported, source),
        higher_is_better=False,
        help="share of the reply's numbers that no source holds",
    )


def entity_overlap(stat: Stat = "f") -> Metric:
    """``entity_f``, ``entity_precision``, ``entity_recall``: names in the reply against the reference's.

    See ``entities`` for what counts as a name. The best reference counts, for every ``stat`` the one with the
    highest F1; does not apply where no reference holds a name. Raises ``UsageError`` for another stat.
    """
    if stat not in get_args(Stat):
        known = get_args(Stat)
        raise UsageError(
            f"entity_overlap: {stat!r} is none of {', '.join(known)}.{did_you_mean(stat, known)}"
        )
    return Metric(
        f"entity_{stat}", partial(_entities, stat), help=f"names shared with the reference ({stat})"
    )


def _unsupported(source: Source, sample: Sample, answer: Answer) -> float | None:
    texts = source_texts(source, sample, answer)
    if texts is None:
        return None
    known = {number for text in texts for number in numbers(text)}
    written = [number for line in plain_reply(answer).splitlines() for number in numbers(line)]
    return sum(not _supported(number, known) for number in written) / len(written) if written else 0.0


def _supported(number: Decimal, known: Iterable[Decimal]) -> bool:
    decimals = max(0, -int(number.as_tuple().exponent))
    reach = Decimal(1).scaleb(-decimals) / 2 if decimals else Decimal(0)  # 0.7 rounds 0.71, 4 rounds nothing
    return any(abs(number - other) <= reach for other in known)


def _entities(stat: Stat, sample: Sample, answer: Answer) -> float | None:
    named = [target for target in sample.targets if entities(target)]
    if not named:
        return None
    return scored(partial(_overlap, stat), True, Sample(sample.id, sample.input, tuple(named)), answer)


def _overlap(stat: Stat, reply: str, references: tuple[str, ...]) -> float:
    said = entities(reply)
    best = max((entities(text) for text in references), key=lambda names: _share(said, names, "f"))
    return _share(said, best, stat)


def _share(said: set[str], wanted: set[str], stat: Stat) -> float:
    shared = len(said & wanted)
    over = {"f": (len(said) + len(wanted)) / 2, "precision": len(said), "recall": len(wanted)}[stat]
    return shared / over if shared else 0.0
