"""Short answers in a reply: one of a few labels (yes, no), or a number. A reader never guesses.

A reply that says nothing, or two things, gives None; so does one that says that there is no picture
(``evalkit.reading.no_picture``). The word *no* before a noun is no answer by itself: "there is no scale bar"
says nothing on a fracture. It is one where the question asks for that noun ("Is there a fracture?", "How many
nodules are there?").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice

from evalkit.reading.markup import plain
from evalkit.reading.negation import denied
from evalkit.reading.no_picture import no_picture, undetermined
from evalkit.reading.numbers import has_number, only_number
from evalkit.reading.patterns import regex

_PLACES = 200  # that are looked at in one reply
LEAD = regex(r"^\W*(?:(?:the |my |final |short |correct )*answer(?: is)?\b(?! not\b)\W*)?", re.IGNORECASE)
ANSWER_IS = regex(r"\banswer(?:\s+is|\s*:|\s+is:)\s*", re.IGNORECASE)
# "No there is none", "no because …": no noun follows, so that "no" is the answer.
_NO_NOUN = r"(?:because|since|as|but|and|there|it|this|that|the|they|i|we|he|she|in|on|to|for|at|with)\b"
_ENDS = r"(?:(?!\.\s?\d)\W*(?:$|[\n.,;:!?*)])|\s+[-–—]|\s*\((?!or\b))"
_NO_ENDS = regex(rf"{_ENDS}|\s+{_NO_NOUN}", re.IGNORECASE)
# "maybe not", "no or unclear", "No/Maybe": the label is not the whole answer.
_HEDGED_AFTER = regex(r"\s+(?:not|or)\b(?!\s+(?:a|an|the|only|just)\b)|\s?/", re.IGNORECASE)
_ASKED = regex(r"[\"')*\s]*\?")
_QUESTION = regex(r"(?:^|(?<=[.!?]\s)|(?<=\n))(?:[^.!?\n]|\.(?=\d))*\?")
_CORRECTS = regex(
    r"(?:^|[.,;:!\n-])\s*(?:wait|actually|correction|scratch that|sorry|on second thought|hmm)\b[^.\n]{0,80}",
    re.I,
)
_SIDES = ({"left", "right"}, {"upper", "lower"}, {"anterior", "posterior"}, {"medial", "lateral"})
_ASKS_WHETHER = regex(
    r"\b(?:any|there|have|has|show\w*|see|seen|visible|present|evident|evidence|signs?|identified"
    r"|demonstrat\w+"
    r"|reveal\w*|contain\w*|observed|noted|exists?)\b",
    re.IGNORECASE,
)
_ASKS_INVERSELY = regex(
    r"\b(?:no|not|without|free of|absent|absence|lack\w*|normal|clear|negative|rul\w+ out|exclude\w*)\b"
    r"|n't\b",
    re.IGNORECASE,
)
_ASKS_A_COUNT = regex(r"\b(?:how many|number of|count)\b", re.IGNORECASE)
_NO = regex(r"\b(?:no|zero)\b(?=\s+\w)", re.IGNORECASE)
_NONE = regex(
    r"\bnone\b(?!\s+of\s+(?:the(?:se)?\s+)?(?:above|options?|choices?|images?|pictures?)\b"
    r"|\s+(?:is|was|were)\s+(?:attached|provided|given|included|uploaded|shown|visible to me)\b)",
    re.IGNORECASE,
)
_ZERO_OF = regex(
    r"\bzero\s+(?!(?:is|are|was|were|in|on|of|to|can|seen|visible|present)\b)[a-z]", re.IGNORECASE
)
_WORD = regex(r"[\w-]+")
_PHRASE_ENDS = regex(
    r"[^\w\s-]|(?<=\w)\s+(?:is|are|was|were|be|can|could|seen|visible|present|identified|noted|evident|observed"
    r"|detected"
    r"|found|apparent|shown|demonstrated|in|on|within|at|to|that|which|here|and|but|with|for|from|by"
    r"|there)\b",
    re.IGNORECASE,
)
_EVIDENCE = {
    "evidence",
    "sign",
    "signs",
    "indication",
    "suggestion",
    "findings",
    "trace",
    "traces",
    "presence",
}


def read_yes_no(reply: str, question: str = "") -> str | None:
    """Return ``yes``, ``no`` or None, as ``read_label`` finds it (version 2)."""
    return read_label(reply, ("yes", "no"), question)


def read_label(reply: str, labels: Sequence[str], question: str = "") -> str | None:
    """Return the one of ``labels`` (single words, lower case) that a reply says, or None (version 2).

    A label with a punctuation mark behind it at the beginning of the reply or after the last "answer is"
    decides ("Yes, there is no fluid"); two different ones give None. Otherwise exactly one label must occur
    that the reply does not deny ("not yes"), and the reply must not say that it cannot tell.
    """
    text = plain(reply)
    if no_picture(text):
        return None
    decided = _decided(text, labels) | _corrected(text, labels)
    if decided:
        return decided.pop() if len(decided) == 1 else None
    if undetermined(text):
        return None
    said = set(islice(_stated(text, labels, question), _PLACES))
    label = said.pop() if len(said) == 1 else None
    return label if label in labels else None


def read_number(reply: str, question: str = "") -> Decimal | None:
    """Return the number in a reply: the number after "answer is", else the only number (version 2).

    ``evalkit.reading.numbers`` says what a number is. "No platelets" and "none" are 0 where the question asks
    how many there are; "zero information" is not.
    """
    text = plain(reply)
    if no_picture(text):
        return None
    text = _QUESTION.sub("", text)
    *before, last = ANSWER_IS.split(text)
    if before and (number := only_number(last)) is not None:
        return number
    if undetermined(text):
        return None
    counted = not question or _ASKS_A_COUNT.search(question) is not None
    denies = _denies_the_asked(text, question)
    if counted and not has_number(text) and (_NONE.search(text) or denies):
        return Decimal(0)
    number = only_number(text)
    return None if number == 0 and _ZERO_OF.search(text) and not denies else number


def _decided(text: str, labels: Sequence[str]) -> set[str]:
    """Return the labels at the beginning of a text and after its last "answer is" that is not denied."""
    names = "|".join(map(re.escape, labels))
    label = regex(rf"({names})\b{_ENDS}(?!\W*(?:{names})\b)", re.IGNORECASE)
    stated = [match.end() for match in ANSWER_IS.finditer(text)][-_PLACES:]
    last = [place for place in stated if not denied(text, place, place + 1)][-1:]
    start = len(text) - len(LEAD.sub("", text, count=1))
    return {
        match[1].lower()
        for place in (start, *last)
        if (match := label.match(text, place)) and not _ASKED.match(text, match.end(1))
    }


def _corrected(text: str, labels: Sequence[str]) -> set[str]:
    """Return the labels that stand behind "wait", "actually", "sorry" …: ``Yes. Wait, no.``"""
    behind = (match[0] for match in islice(_CORRECTS.finditer(text), _PLACES))
    label = regex(rf"\b({'|'.join(map(re.escape, labels))})\b\W*$", re.IGNORECASE)
    return {match[1].lower() for words in behind if (match := label.search(words))}


def _stated(text: str, labels: Sequence[str], question: str) -> Iterator[str]:
    for match in islice(_WORD.finditer(text), 100 * _PLACES):
        label = match[0].lower()
        if label in labels and _ASKED.match(text, match.end()):
            continue
        if label in labels and _HEDGED_AFTER.match(text, match.end()):
            yield f"{label} or another"
            continue
        answers = label in labels and (label != "no" or _NO_ENDS.match(text, match.end()))
        if answers and not denied(text, match.start(), match.end()):
            yield label
    whether = _ASKS_WHETHER.search(question) and not _ASKS_INVERSELY.search(question)
    if "no" in labels and whether and _denies_the_asked(text, question):
        yield "no"


def _denies_the_asked(text: str, question: str) -> bool:
    """Return whether a text says "no …" of a noun that the question holds: "no evidence of a fracture"."""
    asked = {_stem(word) for word in _WORD.findall(plain(question))}
    return any(
        _stem(noun) in asked and not _other_side(text[no.end() : no.end() + 60], question)
        for no in islice(_NO.finditer(text), _PLACES)
        for noun in _nouns(text, no.end())
    )


def _other_side(phrase: str, question: str) -> bool:
    """Return whether a phrase is of the left where the question is of the right, or the like."""
    clause = re.split("[.;]", phrase, maxsplit=1)[0]
    said, asked = (set(re.findall("[a-z]+", text.lower())) for text in (clause, question))
    return any(len(said & pair) == len(asked & pair) == 1 and said & pair != asked & pair for pair in _SIDES)


def _nouns(text: str, start: int) -> Iterator[str]:
    """Yield the head nouns of the phrase at ``start``: effusion and mass in "large effusion or mass"."""
    phrase = _PHRASE_ENDS.split(text[start : start + 120], maxsplit=1)[0]
    for part in re.split(r"\b(?:or|nor)\b", phrase):
        heads = [words[-1].lower() for piece in part.split(" of ") if (words := _WORD.findall(piece))]
        yield from (heads[1:2] if heads[:1] and heads[0] in _EVIDENCE and heads[1:] else heads[:1])


def _stem(word: str) -> str:
    return word.lower().rstrip("es")
