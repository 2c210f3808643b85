"""The numbers in a text, whole or not at all: ``1.5cm``, ``1,500 mL``, ``−5``, ``1.2×10⁻⁵``, ``twenty-one``.

Numbers are
- digits with thousands marks (``1,500``, ``1 500``, ``1'500``, ``1.500.000``, ``1,50,000``), decimals of any
  length (``.05``, ``0·71``, ``1½``), and a decimal comma where it can be nothing else (``0,05``, ``3,5 cm``);
- with a sign (also ``minus 5``), an exponent (``1.2e-5``, ``1.2×10^-5``, ``10⁻⁵``, NLM's ``10(6)``,
  ``10<sup>6</sup>``), a scale (``1.2 million``) or a unit (``1.5cm``, ``20%``);
- words (``evalkit.reading.number_words``).

Ordinals (``3rd``), digits inside names (``IL-6``, ``CYP3A4``) and ``1.2.3`` are none. The ends of a range or
a fraction are two numbers. A number that cannot be read as a whole has no value: it never becomes a piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, islice, pairwise, starmap
from typing import NamedTuple

from evalkit.reading.fold import fold
from evalkit.reading.negation import denied
from evalkit.reading.number_words import number_words
from evalkit.reading.patterns import regex

_LONGEST = 30  # the limit of a number's length, in characters
_LARGEST = 25  # the limit of a number's exponent of 10; below it, two decimals fit into Decimal's precision
_MOST = 400  # the limit of an exponent in a text
_MANY = 50  # numbers: a text with more has no only number
# Of scripts that put spaces between words; not × and ÷.
_LETTER = "A-Za-z_\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0370-\u03ff\u0400-\u04ff"
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")

# Other spellings of a power, a product sign, a decimal point and a thousands mark.
_SPELT = (
    (regex(r"<sup>\s*([-+]?\d{1,3})\s*</sup>", re.IGNORECASE), r"^\1"),
    (regex(r"\\(?:times|cdot)\b|[·⋅](?=\s?10(?:\^|\(|[⁰¹²³⁴-⁹⁻]))"), "×"),
    (regex(r"(?<!\d)[·⋅](?=\d)|(?<=\d)[·⋅](?=\d)"), "."),
    (regex(r"(?<=\d)(?:\{,\}|\\,)(?=\d{3})"), ","),
)
_LETTER_BEFORE = regex(f"[{_LETTER}]")
_EXPONENT_OF_A_UNIT = regex(rf"(?<=[{_LETTER}])\^\s?[{{(]?[-+]?\d{{1,2}}[)}}]?")  # kg/m^2, R^2
_NAME = regex(rf"(?<!\w)(?!x10\b)[{_LETTER}]+-?\d[\w-]*")  # VRN-04412, CYP3A4
# 5-HT, 2,4-dinitrophenol, 25-hydroxyvitamin D: numbers of places in a molecule.
_LOCANT = regex(
    r"(?<![\w.,-])(?:\d{1,2}-(?=[A-Z]{2,4}\b|[αβ]|(?:alpha|beta|hydroxy|fluoro|chloro|bromo|iodo|nitro|amino|methyl|ethyl"
    r"|methoxy|phenyl|acetyl|oxo|keto|deoxy)\w*)|\d{1,2}(?:,\d{1,2})+-(?=[a-z]{3}))"
)
_RUN = regex(r"(?<![\w)\]%.,'])[-+](?=\.?\d)|\.?\d+(?:[.,']\d+| \d{3}(?!\d))*")
_POWER = (
    r"(?:\s?\^|\*\*)\s?[{(]?(?P<caret>[-+]?\d{1,3})[})]?|(?P<raised>[⁰¹²³⁴-⁹⁺⁻]{1,4})"
    r"|\((?P<nlm>[-+]?\d{1,2})\)(?![:\d])"
)
_TIMES_TEN = regex(rf"[eE](?P<e>[-+]?\d{{1,3}})(?![\w.])|\s?[×xX*]\s?10(?:{_POWER}|(?P<lost>[-+]\d{{1,3}}))")
_TO_THE_POWER = regex(_POWER)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9}
_SCALE = regex(rf"[ -]({'|'.join(_SCALES)})\b", re.IGNORECASE)
_NO_NUMBER = regex(rf"(?:st|nd|rd|th)\b|(?!(?:[cmkdμn]?m|in|ft)[23]\b)[{_LETTER}]+\d")  # 3rd, 0x1F
_UNREAD = regex(r"(?:[kKMB]|bn|mn)\b|[⅓⅔⅙⅚⅐⅑⅒⅜⅝⅞]")  # 1.5M: million, or molar?
_MINUS = regex(r"\b(?:minus|negative)\s+$", re.IGNORECASE)
_HALVES = {"½": "0.5", "¼": "0.25", "¾": "0.75", "⅕": "0.2", "⅖": "0.4", "⅗": "0.6", "⅘": "0.8", "⅛": "0.125"}
_UNIT = regex(
    r"\s?(?:%|°|(?:[cmkdμn]?[mgl]|[mμn]?mol|mmHg|kPa|I?U|h|min|hours?|days?|weeks?|months?|years?)\b)",
    re.IGNORECASE,
)
_UNIT_ONLY = regex(r"\s?(?:%|°[CF]?)?(?:(?:\s?[^\W\d_]{2,15}|\s[a-zA-Z])(?:\^?[23]|[²³])?){0,3}\.?")
_GROUPED = regex(
    r"[1-9]\d{0,2}(?:(?:,\d{3})+|(?: \d{3})+|(?:'\d{3})+)(?:\.\d+)?|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?"
)
_EUROPEAN = regex(r"[1-9]\d{0,2}(?:(?:\.\d{3})+|(?: \d{3})+),\d+|[1-9]\d{0,2}(?:\.\d{3}){2,}|0,\d+")
_PLAIN = regex(r"\d*\.\d+|\d+")
_LIMIT_BEFORE = regex(
    r"(?:\b(?:(?:more|less|fewer|greater|higher|lower|larger|smaller) than(?: or equal to)?"
    r"|at (?:least|most)|over|under|above"
    r"|below|up to|exceed\w*)\s(?:the\s|about\s)?|[<>≤≥]=?\s?)$",
    re.IGNORECASE,
)
_LIMIT_AFTER = regex(
    r"\s?(?:\+|[<>≤≥]|\b(?:or|and) (?:more|fewer|less|greater|above|over|below)\b)", re.IGNORECASE
)
_FRACTION = regex(r"\s?[/:]\s?")


class Number(NamedTuple):
    """A number and its place in the text; ``value`` is None where it cannot be read.

    A value written with decimals keeps their number: ``1.20`` has the exponent −2, ``1.2 million`` has 5.
    """

    value: Decimal | None
    start: int
    end: int


def numbers_in(text: str) -> Iterator[Number]:
    """Yield the numbers of a text that has gone through ``spelt``: those in digits, then those in words."""
    for number in chain(_in_digits(text), starmap(Number, number_words(text))):
        minus = number.value and _MINUS.search(text, max(0, number.start - 12), number.start)
        yield number._replace(value=-number.value) if minus and number.value else number


def find_numbers(text: str, *, words: bool = False) -> list[Decimal]:
    """Return the numbers in digits, in order, then those in words if ``words``; none that cannot be read."""
    text = spelt(text)
    numbers = numbers_in(text) if words else _in_digits(text)
    return [number.value for number in numbers if number.value is not None]


def only_number(text: str) -> Decimal | None:
    """Return the number of a text that holds only one, in digits or in words; it may stand there twice.

    None where the text holds no number, several, a fraction (``3/4``), a limit (``more than 3``, ``3+``), or
    one that cannot be read. Numbers that the text denies ("not 3 but 4") do not count.
    """
    text = spelt(text)
    found = list(islice(numbers_in(text), _MANY))
    found.sort(key=lambda number: number.start)
    if len(found) == _MANY or any(_FRACTION.fullmatch(text, a.end, b.start) for a, b in pairwise(found)):
        return None
    found = [number for number in found if not denied(text, number.start, number.end)]
    values = {None if _is_limit(text, number) else number.value for number in found}
    return values.pop() if len(values) == 1 else None


def quantity(text: str) -> Decimal | None:
    """Return the number of a text that is only a number, perhaps with its unit (``1,500 mL``), or None."""
    text = spelt(text).strip()
    number = next(numbers_in(text), None)
    begins = number is not None and number.start <= len(text) - len(text.lstrip("-+~$ "))
    return number.value if number and begins and _UNIT_ONLY.fullmatch(text, number.end) else None


def has_number(text: str) -> bool:
    """Return whether a text holds a number, in digits or in words, that can be read or cannot."""
    return next(numbers_in(spelt(text)), None) is not None


def spelt(text: str) -> str:
    """Return the text folded, with one spelling of powers, product signs, points and LaTeX's marks."""
    text = fold(text)
    for pattern, replacement in _SPELT:
        text = pattern.sub(replacement, text)
    return text


def _is_limit(text: str, number: Number) -> bool:
    before = text[max(0, number.start - 30) : number.start]
    return bool(_LIMIT_BEFORE.search(before) or _LIMIT_AFTER.match(text, number.end))


def _in_digits(text: str) -> Iterator[Number]:
    for pattern in (_EXPONENT_OF_A_UNIT, _NAME, _LOCANT):
        text = pattern.sub(lambda match: " " * len(match[0]), text)
    read_to, negative_at = 0, -1
    for run in _RUN.finditer(text):
        if run[0] in "+-":
            negative_at = run.end() if run[0] == "-" else -1
        elif run.start() >= read_to and not _LETTER_BEFORE.match(text, max(0, run.start() - 1)):
            for number in _read(text, run.start(), run[0]):
                negative = number.value is not None and number.start == negative_at
                yield number._replace(value=-number.value) if negative and number.value else number
                read_to = number.end


def _read(text: str, start: int, run: str) -> Iterator[Number]:
    """Yield the numbers of a run of digits and marks; the last may have an exponent, a scale or a unit."""
    end = start + len(run)
    times, power = _TIMES_TEN.match(text, end), _TO_THE_POWER.match(text, end)
    if times is None and _NO_NUMBER.match(text, end):
        return
    pieces = _pieces(run, times is not None or _UNIT.match(text, end) is not None)
    for piece in pieces[:-1]:
        yield Number(_decimal(piece), start, start + len(piece))
        start += len(piece) + 1
    for piece in pieces[-1:]:
        value = _decimal(piece)
        if times is not None:
            value, end = _scaled(value, _exponent(times)), times.end()
        elif power is not None and (power["nlm"] is None or piece == "10"):
            value, end = _raised(value, power), power.end()
        elif (scale := _SCALE.match(text, end)) is not None:
            value, end = _scaled(value, _SCALES[scale[1].lower()]), scale.end()
        elif text[end : end + 1] in _HALVES:
            value, end = None if value is None else value + Decimal(_HALVES[text[end]]), end + 1
        elif _UNREAD.match(text, end):
            value = None
        yield Number(value, start, end)


def _pieces(run: str, has_unit: bool) -> list[str]:
    """Return the numbers of a run: the decimal mark a point, thousands marks commas, spaces or quotes."""
    if _GROUPED.fullmatch(run) or _PLAIN.fullmatch(run):
        return [run]
    if _EUROPEAN.fullmatch(run) or (has_unit and re.fullmatch(r"\d+,\d+", run)):
        return [run.replace(".", " ").replace(",", ".")]
    for mark in (" ", ","):
        if mark in run:
            return [piece for part in run.split(mark) for piece in _pieces(part, has_unit)]
    return []  # 1.2.3


def _decimal(piece: str) -> Decimal | None:
    digits = re.sub("[ ,']", "", piece)
    return _limited(Decimal(digits)) if len(digits) <= _LONGEST else None


def _exponent(match: re.Match[str]) -> int:
    return int(next(text for text in match.groups() if text).translate(_RAISED))


def _scaled(value: Decimal | None, exponent: int) -> Decimal | None:
    """Return the value times 10 to the ``exponent``; one without decimals stays exact."""
    if value is None or abs(exponent) > _MOST:
        return None
    scaled = value.scaleb(exponent)
    return _limited(scaled if value.as_tuple().exponent or exponent < 0 else Decimal(int(scaled)))


def _raised(base: Decimal | None, power: re.Match[str]) -> Decimal | None:
    """Return a power. A raised number behind another base than 10 may be a footnote: it has no value."""
    exponent = _exponent(power)
    if not base or (power["raised"] and base != 10) or abs(exponent) > _MOST:
        return None
    return _limited(base**exponent)


def _limited(value: Decimal) -> Decimal | None:
    return value if value.adjusted() <= _LARGEST else None
