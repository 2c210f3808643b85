"""What a language model says when it judges: a verdict, or a list of claims. Anything else is None.

A verdict is one of the words of the prompt, not a word inside another statement: "NOT SUPPORTED" and
"PARTIALLY SUPPORTED" are no verdicts, and so errors of the judge.
"""

from __future__ import annotations

import re

from evalkit.protocols import Relation
from evalkit.reading.fold import fold
from evalkit.reading.marks import without_marks
from evalkit.reading.markup import plain
from evalkit.reading.negation import denied

WORDS: dict[str, Relation] = {"SUPPORTED": "entails", "CONTRADICTED": "contradicts", "NEITHER": "neutral"}
READING = 2
"""The version of both rules, recorded with the judge."""

_WORD = "|".join([*WORDS, *map(str.title, WORDS)])
_NAMED = r"(?:(?:(?:my|the|final)\s)*(?:verdict|answer|label|judge?ment|conclusion|relation)\b(?:\sis)?)"
_STATEMENT = (
    r"(?:the|this)\s(?:statement|claim|sentence|hypothesis)\sis\s(?:therefore\s|thus\s|clearly\s|fully\s)?"
)
_OPEN, _CLOSE = r"[\s\"'({\[<>:#-]*", r"[\s\"')}\]<>/.!]*(?:verdict\W*)?"
_VERDICT = re.compile(
    rf"{_OPEN}(?:json\b{_OPEN})?(?:(?i:{_NAMED}{_OPEN}|{_STATEMENT})|[^:]{{1,200}}(?<!not):\s*)?(?P<word>{_WORD})"
    rf"(?:\s(?:by|in)\s(?:the\s(?:passages?|text|evidence)|passages?\s\d+(?:(?:,|\sand)\s\d+)*))?{_CLOSE}"
)
_UNFINISHED = re.compile(
    r"\b(?:not|not quite|never|no|non|hardly|barely|partly|partially|mostly|half|false|wrong|un)\W*$",
    re.IGNORECASE,
)
_ASKS = re.compile(r"\W*(?:is|are|does|do|whether|if|would)\b", re.IGNORECASE)
_NEITHER = re.compile(
    r"[^.!?]{0,80}\bneither supports?(?:ed)? n?or contradicts?(?:ed)?\b[^.!?]{0,80}[.!]?", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.!])\s+|\n+")
_SAID = re.compile(rf"\b(?:{'|'.join(WORDS)})\b")
_TAKEN_BACK = re.compile(
    r"\b(?:partial\w*|partly|in part|only|but|however|although|though|except|unless)\b"
    r"|\bnot (?:fully|entirely)\b",
    re.IGNORECASE,
)

_BOLD = re.compile(r"\*\*|__")
_CLAIM = re.compile(r"(?:[-*•·▪◦‣]\s+|\(?\d{1,3}[.):]\s*|\(?[a-z]\)\s*)(\S.*)")
_NO_CLAIM = re.compile(
    r"\W*(?:claims?\W+)?(?:none|n/a|no claims?(?: (?:is|are|was|were) \w+)?"
    r"|(?:(?:the|this) text|it|there)\s(?:makes|contains|has|are|is) no (?:\w+\s)?claims?"
    r"|(?:(?:the|this) text|it) (?:does not|doesn't) \w+ any (?:\w+\s)?claims?)\W*",
    re.IGNORECASE,
)


def read_relation(reply: str) -> Relation | None:
    """Return the verdict of a reply (version 2); None where it gives none or several.

    A verdict is a sentence or a line of the word alone ("SUPPORTED.", ``{"verdict": "SUPPORTED"}``), with an
    introduction before it ("Verdict: SUPPORTED"), or "The statement is SUPPORTED by the passages." Other
    sentences may explain it. They must not name or deny a verdict, nor take the verdict back that stands
    before them ("SUPPORTED. However, …").
    """
    sentences = [sentence for sentence in _SENTENCE.split(without_marks(plain(reply))) if sentence.strip()]
    verdicts = [_verdict(sentence) for sentence in sentences]
    for before, verdict in zip(sentences, verdicts[1:], strict=False):
        if verdict and before.rstrip()[-1] not in ".!" and _UNFINISHED.search(before):
            return None  # "It is NOT", on a line of its own
    said = {verdict for verdict in verdicts if verdict is not None}
    if len(said) != 1:
        return None
    relation = said.pop()
    explained = "\n".join(s for s, verdict in zip(sentences, verdicts, strict=True) if verdict is None)
    for match in _SAID.finditer(explained):
        if WORDS[match[0]] != relation or denied(explained, match.start(), match.end()):
            return None
    return None if verdicts[-1] is None and _TAKEN_BACK.search(explained) else relation


def _verdict(sentence: str) -> Relation | None:
    if _NEITHER.fullmatch(sentence):
        return "neutral"
    match = _VERDICT.fullmatch(sentence)
    if match is None or denied(sentence, match.start("word"), match.end("word")):
        return None
    introduction = sentence[: match.start("word")]
    if _UNFINISHED.search(introduction) or _ASKS.match(introduction):
        return None
    return WORDS[match["word"].upper()]


def read_claims(reply: str) -> list[str] | None:
    """Return the claims that a reply lists, one a line behind a bullet or a number (version 2).

    "NONE", also as an item of the list, is no claim. A first line that ends with a colon is a heading. None
    where a line is no item, or "NONE" stands beside claims.
    """
    lines = [line for text in fold(reply).splitlines() if (line := _BOLD.sub("", text).strip())]
    if len(lines) > 1 and lines[0].endswith(":"):  # "Here are the claims:"
        lines = lines[1:]
    if len(lines) == 1 and _NO_CLAIM.fullmatch(_without_bullet(lines[0])):
        return []
    listed = [match[1] for line in lines if (match := _CLAIM.fullmatch(line))]
    complete = listed and len(listed) == len(lines) and not any(map(_NO_CLAIM.fullmatch, listed))
    return listed if complete else None


def _without_bullet(line: str) -> str:
    match = _CLAIM.fullmatch(line)
    return match[1] if match else line
