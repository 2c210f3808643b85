"""Citation marks in a reply: ``[1]``, ``[1, 2]``, ``[1-3]``, and other forms that models use.

Read as ``[1]`` are ``【1】``, ``【1†source】``, ``[1†L1-L3]``, ``[^1]``, ``[[1]]``, ``[1](https://…)``,
``[Passage 1]`` and ``(passage 1)``; ``[1]-[3]`` as ``[1-3]``. Superscripts (``zinc works.¹``) and round
brackets (``zinc works (1).``) are read by ``spelt_out`` only where nothing else can be meant. Numbers in
brackets that belong to a name are no marks: ``[1,2,4]triazolo``, ``[18]F-FDG``, ``[3,3]-sigmatropic``,
``G1P[8]``. Every pattern takes time linear in the text, because a reply can be hostile.
"""

from __future__ import annotations

import re

from evalkit.reading.patterns import regex

_LIST = r"[0-9]{1,9}(?:\s?(?:[,;、，–—‑-]|&|and)\s?[0-9]{1,9})*"
_MARK = rf"\[\s?{_LIST}\s?\]"
MARKS_AND_SPACE = rf"(?:{_MARK}[ \t]?)++"
_WITH_SPACE = regex(rf" ?({_MARK})")
_ONE = regex(_MARK)
_SOURCE = (
    r"(?:passages?|abstracts?|documents?|docs?|sources?|references?|refs?|citations?|cite|articles?"
    r"|snippets?)"
)
_SPELT = tuple(
    (regex(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"[［【〔]\s?([0-9][^］】〕\[\]\n]{0,60})[］】〕]", r"[\1]"),
        (rf"\[\^?({_LIST})(?:\^|†[^\]\n]{{0,40}})?\]", r"[\1]"),
        (rf"\\\[({_LIST})\\\]", r"[\1]"),
        (rf"\[\[({_LIST})\]\]", r"[\1]"),
        (rf"({_MARK})\((?:https?:|#)[^)\s]{{0,300}}\)", r"\1"),
        # "(passage 1, passage 2)", "(source: passages 1 and 3)"
        (rf"(?<=[0-9])(\s?[,;&]\s?|\s(?:and|&)\s){_SOURCE}[\s:#.]{{1,3}}(?={_LIST}[\]),;\s])", r"\1"),
        (rf"[\[(](?:see |{_SOURCE}:\s)?(?:{_SOURCE}|#)[\s:#.]{{0,3}}({_LIST})[\])]", r"[\1]"),
        (r"\[([0-9]{1,9})\]\s?[-–—‑]\s?\[([0-9]{1,9})\]", r"[\1-\2]"),
    )
)
_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_BEHIND_A_WORD = r"(?:(?<=[a-z]{4})|(?<=[.;,)])|(?<=[a-z]{4}\s)(?=[^.,;!?\n]{1,40}[.,;!?]))"
_RAISED = regex(
    rf"{_BEHIND_A_WORD}(?:<sup>\s?(?P<tag>{_LIST})\s?</sup>"
    rf"|(?P<raised>[⁰¹²³⁴-⁹]+(?:[,⁻–-][⁰¹²³⁴-⁹]+)*))(?![\w⁺⁻])"
)
_ROUND = regex(r"\(([0-9]{1,2}(?:[,;–-]\s?[0-9]{1,2})*)\)")
_BEHIND_PROSE = regex(r"(?:[a-z]{2,}[.,]?|\)[,;]?) ?$")
_BEFORE_A_BREAK = regex(r"\s*(?:[.,;:!?)]|$)")
_NUMBER_WORD = regex(
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|hundred|dozen) ?$"
)

# In the order of their atomic numbers: an isotope of element Z has a mass between Z and 3 Z.
_ELEMENTS = str.split(
    """H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr
    Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W
    Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U"""
)
_SYMBOL = regex(r"[A-Z][a-z]?(?![a-z])")
_NAME_GOES_ON = regex(r"-[A-Za-z]|[a-z](?!\s)")
_RING = regex(
    r"(?:benz|thia|thie|thio|oxa|oxo|diox|dithi|aza|dia|tria|tetra|pyr|fur|imid|naphth|indol|quin|cyclo|spiro|phen)"
    r"[a-z]{3}",
    re.IGNORECASE,
)
_PROSE_GOES_ON = regex(
    r"(?:and|or|but|while|whereas|which|with|in|for|as|is|are|was|were|also|the|to|of|by|on|that)\b"
)


def without_marks(text: str) -> str:
    """Return the text without its citation marks."""
    return parted(_spelt(text))[0]


def parted(text: str) -> tuple[str, list[str]]:
    """Return the text without its marks, and the marks, brackets included; all must have the form ``[…]``."""
    marks: list[str] = []

    def cut(match: re.Match[str]) -> str:
        if not _is_mark(text, match.start(1), match.end()):
            return match[0]
        marks.append(match[1])
        return " " if match[0][0] == " " and text[match.end() : match.end() + 1].isalnum() else ""

    return _WITH_SPACE.sub(cut, text), marks


def spelt_out(text: str) -> str:
    """Return the text with every citation mark as ``[…]``.

    Superscripts and numbers in round brackets are marks only in a text without any other mark: superscripts
    behind a word of four letters or punctuation (not ``cm²``); round brackets where all of them stand behind
    prose, before punctuation or the end (not a list ``(1) …, (2) …``, not ``five (5)``).
    """
    text = _spelt(text)
    if not _has_mark(text):
        text = _RAISED.sub(lambda m: f" [{m['tag'] or m['raised'].translate(_DIGITS)}]", text)
    if (
        not _has_mark(text)
        and (found := list(_ROUND.finditer(text)))
        and all(_is_cited(text, match) for match in found)
    ):
        text = _ROUND.sub(r"[\1]", text)
    return text


def _spelt(text: str) -> str:
    for pattern, replacement in _SPELT:
        text = pattern.sub(replacement, text)
    return text


def _has_mark(text: str) -> bool:
    return any(_is_mark(text, match.start(), match.end()) for match in _ONE.finditer(text))


def _is_cited(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 20) : match.start()]
    return bool(
        _BEHIND_PROSE.search(before)
        and not _NUMBER_WORD.search(before)
        and _BEFORE_A_BREAK.match(text, match.end())
    )


def _is_mark(text: str, start: int, end: int) -> bool:
    """Return whether the brackets at a place cite, and are no part of a name."""
    if text[start - 1 : start] == "P" and not text[start - 2 : start - 1].isalpha():
        return False  # the rotavirus G1P[8]
    if not text[end : end + 1].isalnum() and text[end : end + 1] != "-":
        return True
    if _PROSE_GOES_ON.match(text, end):
        return True
    if (
        _NAME_GOES_ON.match(text, end)
        or _RING.match(text, end)
        or (text[end : end + 1].isalnum() and text[start - 1 : start].isalpha())
    ):
        return False
    symbol = _SYMBOL.match(text, end)
    if symbol is None or symbol[0] not in _ELEMENTS or not text[start + 1 : end - 1].strip().isdigit():
        return True
    atomic_number, mass = _ELEMENTS.index(symbol[0]) + 1, int(text[start + 1 : end - 1])
    return not atomic_number <= mass <= 3 * atomic_number
