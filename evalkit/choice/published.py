"""The extraction rules of published scores, with their flaws, for comparison: MIRAGE's and MMMU-Pro's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.choice.extractor import Reading

# MIRAGE's rules in their order: patterns whose group is the letter.
_MIRAGE = (r"([A-D])$", r"([A-D]) or", r"([A-D]) and", r"([A-D])/", r"([A-D]),")
_MIRAGE_ANYWHERE = (r"[Oo]ption ([A-D])", r":\s*([A-D])")
_MIRAGE_V1_ANYWHERE = (r"[Oo]ption ([A-D])", r": ?([A-D])")  # at most one space after the colon
_MIRAGE_LAST = (r"([A-D])\.", r'([A-D])"', r"([A-D]):")


def mirage_v1(text: str, options: Sequence[str]) -> Reading:
    """Read by MIRAGE's rule, but with at most one space after a colon (our first version)."""
    return mirage_v2(text, options, _MIRAGE_V1_ANYWHERE)


def mirage_v2(text: str, options: Sequence[str], anywhere: Sequence[str] = _MIRAGE_ANYWHERE) -> Reading:
    """Read by MIRAGE's published rule, ``locate_answer`` of its ``src/utils.py``.

    Its flaw is kept on purpose: a reply that cannot be read counts as A. An empty reply is no choice, as
    where MIRAGE's file of outputs holds none.
    """
    if not text:
        return Reading(None, "empty")
    stated = text.rpartition('"answer_choice": "')[2].strip()
    for pattern in _MIRAGE:
        if match := re.match(pattern, stated):
            return Reading(ord(match[1]) - ord("A"), "mirage")
    for pattern in anywhere:
        if match := re.search(pattern, stated):
            return Reading(ord(match[1]) - ord("A"), "mirage")
    for pattern in _MIRAGE_LAST:
        if match := re.match(pattern, stated):
            return Reading(ord(match[1]) - ord("A"), "mirage")
    return Reading(0, "mirage: nothing read, counted as A")


def mmmu_pro_v1(text: str, options: Sequence[str]) -> Reading:
    """Read by MMMU-Pro's published rule: a letter anywhere, also a word or an initial of the answer.

    Where the rule finds no letter, the authors draw an option at random; here there is no choice.
    """
    letters = [chr(ord("A") + i) for i in range(len(options))]
    _, marked, behind = text.rpartition("Answer:")
    named = [i for i, letter in enumerate(letters) if letter in behind] if marked else []
    if len(named) == 1:
        return Reading(named[0], "mmmu_pro: Answer:")
    for character in ",.!?;:'":
        text = text.strip(character)
    text = f" {text} "
    for pattern, last in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        named = [i for i, letter in enumerate(letters) if pattern.format(letter) in text]
        if named:
            return Reading(
                max(named, key=lambda i: (text.rfind(last.format(letters[i])), -i)), "mmmu_pro: letter"
            )
    if len(text.split()) > 5:
        lower = text.lower()
        named = [i for i, option in enumerate(options) if option.lower() in lower]
        if named:
            return Reading(max(named, key=lambda i: (lower.rfind(options[i].lower()), -i)), "mmmu_pro: text")
    return Reading(None, "mmmu_pro: drawn at random")
