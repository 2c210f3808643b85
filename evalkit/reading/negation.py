"""Whether a text states a word or denies it: "not A", "the incorrect answer is A", "A is wrong", "partly A".

A reader that looks for an answer in prose calls ``denied`` for each place where it finds one. Both functions
look at the sentence of the place only, some 200 characters to each side, so a hostile text costs nothing.
They read English; pass text through ``fold`` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from evalkit.reading.patterns import regex

_REACH = 200  # characters on each side of a place
_PLACES = 500  # that are looked at in one text
_ANSWER = (
    r"(?:answers?|options?|choices?|responses?|labels?|verdicts?|diagnos[ie]s|readings?|values?|numbers?)"
)
_FALSE = (
    r"(?:wrong|incorrect|false|mistaken|erroneous|invalid|inaccurate|untrue|unsupported|unlikely|improbable"
    r"|excluded|eliminated|rejected|ruled out|refuted)"
)
_PARTLY = r"(?:partly|partially|in part|half|somewhat|almost|nearly|not (?:fully|entirely|completely|quite))"
_NOT = r"(?:not|never|cannot|neither|nor|without|hardly|\w+n't)"
_GAP = r"[\s\"'(\[*_`$]"

# Denials in front of a place, from the cue to the place; "not wrong" was taken out before.
_DENIED_BEFORE = regex(
    rf"\b{_NOT}\b(?! (?:only|just|merely|simply|to mention)\b)(?:{_GAP}+[\w'-]+){{0,6}}{_GAP}*$"
    rf"|\b(?:rather than|instead of|except(?: for)?|other than|as opposed to|far from|anything but)"
    rf"(?:\s+[\w'-]+){{0,3}}{_GAP}*$"
    rf"|\b(?:rul(?:e|es|ed|ing) out|exclud\w+|eliminat\w+|reject\w*|discard\w*|dismiss\w*|avoid\w*)"
    rf"(?:\s+[\w'-]+){{0,4}}{_GAP}*$"
    rf"|\b(?:doubt\w*|tempting"
    rf"|(?:one|you|someone|some) (?:might|may|could|would) (?:\w+ )?(?:say|answer|choose|call)"
    rf"|(?:might|may|could|would) (?:think|assume|guess|expect|be tempted)"
    rf"|(?:people|students?|some|many) (?:think|believe|assume|say))(?:\s+[\w'-]+){{0,5}}{_GAP}*$"
    rf"|\b{_PARTLY}(?:\s+[\w'-]+){{0,3}}{_GAP}*$"
    rf"|\b(?:no|non)[\s-]+(?:[\w'-]+\s+)?$",
    re.IGNORECASE,
)
# "The incorrect answer is: A", "a common mistake is A", "distractors: A": denied to the end of the sentence.
_FALSE_BEFORE = regex(
    rf"\b{_FALSE}\s+(?:[\w'-]+\s+){{0,2}}?(?:{_ANSWER}|ones?)\b"
    rf"|\b(?:least|worst)\s+(?:[\w'-]+\s+){{0,2}}?{_ANSWER}\b"
    rf"|\b(?:mistakes?|errors?|misconceptions?|distractors?|traps?|pitfalls?|fallac(?:y|ies))\b"
    rf"|^\W*{_FALSE}\s*[:=]|\b(?:{_FALSE}|mistake) to (?:say|answer|choose|call|claim|conclude|assume)\b"
    r"|\bif\b(?! (?:i|you|we)\b)[^.;]{0,120}\bwould (?:be|have been)\b",
    re.IGNORECASE,
)
_TURN = regex(
    r"\b(?:but|however|whereas|while|although|though|yet|instead|therefore|thus|hence|so)\b"
    rf"|\b(?:correct|right|true|best|final)\s+{_ANSWER}\b",
    re.IGNORECASE,
)
_DENIED_AFTER = regex(
    rf"[\s\"')\]*_`$]*(?:(?:answer|option|choice)\s+)?"
    rf"(?:(?:is|are|was|were|be|being|seems?|looks?|appears?|would\s+be|can\s+be|could\s+be|must\s+be)\s+"
    rf"(?:(?:clearly|definitely|certainly|therefore|also|thus|simply|a|an|the|only|both|all)\s+){{0,3}}"
    rf"(?:not\b(?!\s+(?:only|just|{_FALSE})\b)|never\b|{_FALSE}\b|{_PARTLY}\b|(?:common\s+)?(?:mistake"
    rf"|distractor|trap)\b)"
    rf"|(?:is|are|was|were|do|does|did|can|could|would|should)n't\b"
    rf"|(?:cannot|can\s+not|does\s+not|do\s+not|did\s+not|will\s+not|would\s+not|could\s+not)\b"
    rf"|[,:(–-]*\s*(?:which|that)\s+is\s+{_FALSE}\b"
    rf"|[(:=-]+\s*{_FALSE}\b)",
    re.IGNORECASE,
)
_NOT_FALSE = regex(
    rf"\b(?:not|never|\w+n't)\s+(?:(?:a|an|the|at all)\s+)?{_FALSE}\b"
    r"|\b(?:no|(?:without|beyond)(?: a| any)?) doubt\b",
    re.IGNORECASE,
)
_SENTENCE_END = regex(r"[.!?](?=\s)|[\n;]")
_CLAUSE_END = regex(r"[,:]|--|\s-\s")
_ITEM = r"[^\s,.;:]{1,40}"
_LIST = regex(rf"(?:\b{_ITEM},\s){{1,8}}(?:{_ITEM},?\s)?(?=(?:or|nor)\s)")
_WORDS = regex(r"\w+(?:-\w+)*")


def denied(text: str, start: int, end: int) -> bool:
    """Return whether ``text[start:end]`` stands inside its denial.

    True for "not X", "neither X nor …", "rather than X", "X is wrong", "X can be ruled out", "the incorrect
    answer is X", "a common mistake is X", "partly X". False for "not only X", "X is not wrong", and after a
    turn ("not A but X"). Where a pattern found the word: ``denied(text, match.start(), match.end())``.
    """
    before, after = text[max(0, start - _REACH) : start], text[end : end + _REACH]
    if ends := [m.end() for m in _SENTENCE_END.finditer(before)]:
        before = before[ends[-1] :]
    if stop := _SENTENCE_END.search(after):
        after = after[: stop.start()]
    before = _NOT_FALSE.sub(" ", before)
    if turns := [m.start() for m in _TURN.finditer(before)]:
        before = before[turns[-1] :]
    if _FALSE_BEFORE.search(before) or _DENIED_AFTER.match(after):
        return True
    return _DENIED_BEFORE.search(_clause(before, after)) is not None


def stated(text: str, words: Iterable[str]) -> set[str]:
    """Return those of ``words`` that a text states: as a whole word, without regard to case, not denied.

    A word counts if one of its first 500 places is no denial. ``words`` are single, lower-case words.
    """
    wanted, found = set(words), set[str]()
    places = (match for match in _WORDS.finditer(text) if match[0].lower() in wanted)
    for match in islice(places, _PLACES):
        if match[0].lower() not in found and not denied(text, match.start(), match.end()):
            found.add(match[0].lower())
    return found


def _clause(before: str, after: str) -> str:
    """Return the end of ``before`` that is in the place's clause; a list (A, B, or C) is one clause."""
    mark = "\0"
    joined = _LIST.sub(lambda m: m[0].replace(",", " "), before + mark + after[:60])
    clause = joined[: joined.find(mark)]
    ends = [m.end() for m in _CLAUSE_END.finditer(clause)]
    return clause[ends[-1] :] if ends else clause
