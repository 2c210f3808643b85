"""Sentences of biomedical prose, for metrics, baselines and chunks.

Rules split the text, not a model: the same text gives the same sentences everywhere, and ten thousand
abstracts take a few seconds. Each full stop is decided by two questions: can the word before it be an
abbreviation, and can the word after it begin a sentence?
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# "… was effective. [1][2, 3]": citations after the full stop belong to the sentence before it.
_CITATIONS = r"(?:\s?\[\s*\d+(?:\s*[,;–-]\s*\d+)*\s*\])*+"
_STOP = re.compile(rf"(?<![.!?…])(?P<mark>[.!?…]++)(?P<close>[\"'”’»)\]]*+{_CITATIONS})(?:\s+|$)")
_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*•–]\s|\(?\d{1,3}[.)]\s|[\"“(\[]?[A-Z]))")
_WORD = re.compile(r"[^\s(\[\"'“‘/]+$")
_OPENING = "\"'“‘«([*_"

# Abbreviations that always stand before another word of their sentence.
_NEVER_LAST = _words(
    """e.g i.e eg ie cf vs v.s viz ca approx resp incl excl esp fig figs figure tab tabs eq eqs ref refs
    subsp ssp var avg"""
)
_TITLES = _words("Dr Drs Prof Mr Mrs Ms St")  # "Ms. Smith", but "within 300 ms."
# Abbreviations before a number, otherwise words or units: "No. 3", but "No. The trial was negative."
_BEFORE_NUMBER = _words("no nos p pp n vol sec ch chap art nr")
# Abbreviations that end a sentence only before one of the words in _STARTERS.
_MAYBE_LAST = _words("etc al spp sp inc ltd co corp dept univ jr sr phd md")
_DOTTED = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")  # i.v, b.i.d, U.S
_STARTERS = _words(
    """A After Although An And Among As At Because Before Both But By Compared Conclusion Conclusions Data
    Despite During Each Finally For From Further Furthermore Having Here However If In It Its Men Methods
    Moreover Most No Of On One Only Other Our Overall Participants Patients Results Several Since Six Some
    Such That The Their Then There Therefore These They This Those Three Thus To Treatment Two Under Until
    We When Whereas Whether Which While With Women"""
)
# "vitamin D.", "hepatitis B.", "group A.": after these words a single capital is not an initial.
_LETTERED = _words(
    """and arm arms class cohort factor grade group groups hepatitis influenza or panel phase protein stage
    type vitamin vitamins"""
)
_LONE_STOP = re.compile(r"[^\w]*")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of ``text`` in order, with single spaces; none is empty.

    A full stop does not end a sentence inside a number (``p < 0.05``), after an abbreviation (``e.g.``,
    ``vs.``, ``Fig.``, ``et al.``), an initial or a genus (``E. coli``), or after the number of a list item.
    Citation marks after the full stop (``… was effective. [1]``) stay with the sentence before it. Blank
    lines, list items and line breaks before a capital are borders; other line breaks are spaces.
    """
    sentences: list[str] = []
    for block in _BLOCK.split(text) if "\n" in text else (text,):
        sentences.extend(_split_block(" ".join(block.split())))
    return sentences


def _split_block(block: str) -> list[str]:
    sentences, start = [], 0
    for stop in _STOP.finditer(block):
        if _is_border(block, start, stop):
            sentences.append(block[start : stop.end("close")])
            start = stop.end()
    if start < len(block):
        sentences.append(block[start:])
    return [s for s in sentences if not _LONE_STOP.fullmatch(s)]


def _is_border(block: str, start: int, stop: re.Match[str]) -> bool:
    """Return whether the sentence that begins at ``start`` ends at ``stop``."""
    following = block[stop.end() : stop.end() + 40].split(" ", 1)[0].lstrip(_OPENING)
    cited = "[" in stop["close"]
    before = _WORD.search(block, max(start, stop.start() - 40), stop.start())
    word = before.group() if before else ""
    preceding = block[max(start, stop.start() - 40) : stop.start() - len(word)]
    if stop["mark"] != "." or stop["close"]:
        if cited and stop["mark"] == "." and not _closes(word, following, preceding):
            return False  # "Smith et al. [1] found …"
        return _can_begin(following) or stop["mark"][0] in "!?" or cited
    if before is not None and before.start() == start and word.isdigit() and len(word) <= 3:
        return False  # "1. First item"
    if word == "0" and following[:1].isdigit():
        return False  # "p < 0. 05", as printed in some abstracts
    if not _closes(word, following, preceding):
        return False
    return _can_begin(following) or (len(word) > 2 and following[:1].islower())


def _closes(word: str, following: str, preceding: str) -> bool:
    """Return whether a full stop after ``word`` can end a sentence, not only mark an abbreviation."""
    if len(word) > 1 and word.isalpha() and word.isupper():
        return True  # ED, CA and NO are written without a full stop
    key = word.lower()
    if key in _NEVER_LAST or word in _TITLES:
        return False
    if key in _BEFORE_NUMBER:
        return (
            not following[:1].isdigit() and following[:1] != "#" and (len(key) > 1 or _can_begin(following))
        )
    lone_capital = len(word) == 1 and word.isupper()
    if lone_capital and preceding.rstrip().rpartition(" ")[2].lower() in _LETTERED:
        return True
    if lone_capital or key in _MAYBE_LAST or _DOTTED.fullmatch(word):
        return following.rstrip(",;:") in _STARTERS
    return True


def _can_begin(word: str) -> bool:
    """Return whether a word begins with a capital or digit, or is a name such as mRNA, p53 or β-catenin."""
    first = word[:1]
    if first.isupper() or first.isdigit() or (first.isalpha() and not first.isascii()):
        return True
    return first.islower() and any(c.isupper() or c.isdigit() for c in word[1:])
