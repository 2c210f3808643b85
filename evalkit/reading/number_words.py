"""Numbers in English words: ``twenty-one``, ``a hundred and five``, ``two and a half``, ``zero``.

A number that goes on in a way that is not read (``one third``, ``twenty-first``, ``two dozen``) has no value.
"One" as a pronoun (``one can see``, ``this one``) is no number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from evalkit.reading.patterns import regex

_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {word: n for n, word in enumerate(_UNITS + _TEENS)} | {w: 10 * n for n, w in enumerate(_TENS, 2)}
_VALUES |= {"a": 1, "an": 1, "nil": 0}
_BIG = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}

_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[\s-](?:{'|'.join(_UNITS[1:])})\b)?|{'|'.join(_TEENS + _UNITS)})\b"
_TO_999 = rf"(?:(?:{_SMALL}|a)[\s-]hundred\b(?:(?:\s+and)?[\s-]+{_SMALL})?|{_SMALL})"
_SCALED = rf"(?:{_TO_999}|an?)[\s-](?:{'|'.join(_BIG)})\b"
_NUMBER = regex(
    rf"(?<![\w-])(?:{_SCALED}(?:(?:,|\s+and)?[\s-]+(?:{_SCALED}|{_TO_999})){{0,4}}|{_TO_999}|nil\b)"
    rf"(?![\s-]+(?:hundred|{'|'.join(_BIG)})\b)(?P<half>\s+and\s+a\s+half\b|\s+point(?P<decimals>(?:[\s-](?:{'|'.join(_UNITS)})\b)+))?",
    re.IGNORECASE,
)
_UNREAD = regex(
    r"[\s-](?:half|halves|quarters?|thirds?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?"
    r"|dozens?"
    r"|hundredths?|thousandths?)\b|-(?:first|second|one|two|three|four|five|six|seven|eight|nine|ten)\b",
    re.IGNORECASE,
)
_PRONOUN_BEFORE = regex(
    r"\b(?:no|this|that|which|each|every|any|another|other|the|last|first)\s$", re.IGNORECASE
)
_PRONOUN_AFTER = regex(
    r"(?:'s|\s(?:can|cannot|could|may|might|must|should|would|needs|has|sees|of|another|or another))\b",
    re.IGNORECASE,
)


def number_words(text: str) -> Iterator[tuple[Decimal | None, int, int]]:
    """Yield each number in words: its value (None where it cannot be read), start and end."""
    for match in _NUMBER.finditer(text):
        words = match[0].lower()
        if words == "one" and _is_pronoun(text, match):
            continue
        value = None if _UNREAD.match(text, match.end()) else _read(words, match["decimals"] or "")
        yield value, match.start(), match.end()


def _is_pronoun(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 12) : match.start()]
    return bool(_PRONOUN_BEFORE.search(before) or _PRONOUN_AFTER.match(text, match.end()))


def _read(words: str, decimals: str) -> Decimal:
    """Return the value of words in lower case, the last of which are ``decimals``: *two point five*."""
    if not decimals:
        return _value(re.findall("[a-z]+", words))
    whole = _value(re.findall("[a-z]+", words[: -len(decimals)].removesuffix("point")))
    return Decimal(
        f"{whole}.{''.join(str(_VALUES[word]) for word in re.findall('[a-z]+', decimals.lower()))}"
    )


def _value(words: list[str]) -> Decimal:
    total = below_1000 = 0
    for word in words:
        if word in _BIG:
            total, below_1000 = total + below_1000 * _BIG[word], 0
        elif word == "hundred":
            below_1000 *= 100
        elif word == "half":
            return Decimal(total + below_1000 - 1) + Decimal("0.5")  # "and a half": the "a" was counted
        else:
            below_1000 += _VALUES.get(word, 0)
    return Decimal(total + below_1000)
