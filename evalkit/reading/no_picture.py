"""Replies that say that there is no picture to look at, or that a question about it cannot be answered.

Such a sentence is no answer, whatever words it holds: "There is no image attached", "This cannot be
determined, as there is no scale bar". Both functions read English that has gone through ``fold``.
"""

from __future__ import annotations

import re

from evalkit.reading.patterns import regex

_CANNOT = (
    r"(?:cannot|can't|can not|could not|couldn't|unable to|not able to|no way to|not possible to"
    r"|impossible to|(?:do|did|does)(?:n't| not)|(?:have|has)(?:n't| not)|the ability to|the capability to)"
)
_PICTURE = (
    r"(?:image|picture|photo(?:graph)?|scan|x-?ray|radiograph|figure|file|attachment|chart|graph|slide|video"
    r"|screenshot|visual|media|film)s?"
)
_SEE = (
    r"(?:see|view|access|open|display|receive|process|load|find|have|look at|analy[sz]e|interpret|examine"
    r"|read|evaluate)"
)
_HERE = (
    r"(?:attached|provided|included|uploaded|given|available|shared|supplied|sent|displayed|shown|loaded|here"
    r"|embedded|found|received|visible to me|came through|present in"
    r"|in (?:your|the|this|our) (?:message|prompt|question|request|chat|input|conversation|post)"
    r"|to (?:analy[sz]e|look at|see|view|examine|evaluate|refer|review|work|interpret))"
)
_ARTICLES = (  # "see any of the attached images", but not "see a mass in the image"
    r"(?:(?:the|an?|any|your|this|that|of|or|and|view|analy[sz]e|access|to|directly|actual|attached|provided"
    r"|uploaded|clear|original|medical|such)\s){0,4}"
)
_BE = (
    r"(?:(?:is|are|was|were|has|have|had|been|being|that|which|i|can|currently|actually|yet|content)\s){0,4}"
)
_MISSING = (
    r"(?:missing|blank|empty|(?:completely |entirely )black|black(?! and)|unavailable|corrupt(?:ed)?"
    r"|(?:a )?(?:solid|plain|uniform(?:ly)?) (?:gr[ae]y|black|white)\w*"
    rf"|not (?:\w+\s)?(?:{_HERE}|accessible|viewable))"
)
_THAT = r"(?:(?:that )?(?:you|i) (?:sent|mentioned|attached|uploaded|refer to|describe)\w*\s)?(?:\w+ly\s)?"
_NO_PICTURE = regex(
    rf"\b(?:no|zero|0|not an?|not any)\s(?:\w+\s)?{_PICTURE}"
    rf"(?:\s*(?:[.,;!?)]|$)|\s(?:though|however)\b|\s{_BE}{_HERE}\b)"
    rf"|n't (?:\w+\s){{0,4}}?(?:an?|any)\s(?:\w+\s)?{_PICTURE}(?:\s*(?:[.,;!?)]|$)|\s{_BE}{_HERE}\b)"
    rf"|\b(?:without|in the absence of) (?:(?:seeing|viewing|having|access to|looking at)\s)?{_ARTICLES}"
    rf"{_PICTURE}\b"
    rf"|\b{_CANNOT} (?:\w+\s)?{_SEE}\s(?:access to\s)?{_ARTICLES}{_PICTURE}\b"
    rf"|\b{_PICTURE} {_THAT}(?:(?:is|are|was|were|has been|seems|appears)(?: to be)? {_MISSING}"
    r"|not (?:provided|attached|included|available|supplied|uploaded|shown|accessible)"
    r"|(?:did not|didn't|does not|doesn't|failed to) (?:load|come through|upload|appear|display)"
    rf"|(?:was|is|are|were|has|have)(?:n't| not) (?:been )?(?:\w+\s)?(?:{_HERE}|accessible)|not found)\b"
    rf"|\b(?:please (?:\w+\s)?|(?:could|can|would) you (?:please )?)"
    rf"(?:re-?)?(?:upload|attach|provide|share|send|include)\s{_ARTICLES}{_PICTURE}\b",
    re.IGNORECASE,
)
_UNDETERMINED = regex(
    rf"\b{_CANNOT}\s(?:\w+\s){{0,2}}?(?:answer|determine|say|tell|conclude|know|judge|decide|assess|evaluate"
    r"|give an|be (?:answered|determined|concluded|judged|told|decided|assessed|evaluated|seen|identified"
    r"|given|established))\b|\bno (?:\w+\s)?answer\b"
    r"|\b(?:not enough|insufficient|not sufficient) (?:information"
    r"|data|context|details?)\b|\b(?:undetermined|indeterminate|inconclusive)\b|\bnot (?:sure|certain)\b"
    r"|^\W*unclear\b",
    re.IGNORECASE,
)


def no_picture(text: str) -> bool:
    """Return whether a text says that the speaker has no picture: none attached, missing, not to be seen."""
    return _NO_PICTURE.search(text) is not None


def undetermined(text: str) -> bool:
    """Return whether a text says that the question cannot be answered."""
    return _UNDETERMINED.search(text) is not None
