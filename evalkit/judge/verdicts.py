"""What a language model says when it judges: a verdict, or a list of claims. Anything else is None.

A verdict is one of the words of the prompt, not a word inside another statement: "NOT SUPPORTED" and
"PARTIALLY SUPPORTED" are no verdicts, and so errors of the judge.
"""

from __future__ import annotations

import json
import re

from evalkit.protocols import Relation
from evalkit.reading.fold import fold
from evalkit.reading.marks import without_marks
from evalkit.reading.markup import plain
from evalkit.reading.negation import denied
from evalkit.reading.patterns import regex

WORDS: dict[str, Relation] = {"SUPPORTED": "entails", "CONTRADICTED": "contradicts", "NEITHER": "neutral"}
READING = 2
"""The version of both rules, recorded with the judge."""

_WORD = "|".join([*WORDS, *map(str.title, WORDS)])
_NAMED = r"(?:(?:(?:my|the|final)\s)*(?:verdict|answer|label|judge?ment|conclusion|relation)\b(?:\sis)?)"
_STATEMENT = (
    r"(?:the|this)\s(?:statement|claim|sentence|hypothesis)\sis\s(?:therefore\s|thus\s|clearly\s|fully\s)?"
)
_OPEN, _CLOSE = r"[\s\"'({\[<>:#-]*", r"[\s\"')}\]<>/.!]*(?:verdict\W*)?"
_SURE = r"(?i:(?:fully|clearly|directly|explicitly|completely|entirely|strongly)\s)?"
_VERDICT = regex(
    rf"{_OPEN}(?:json\b{_OPEN})?(?:(?i:{_NAMED}{_OPEN}|{_STATEMENT})|[^:]{{1,200}}(?<!not):\s*)?{_SURE}(?P<word>{_WORD})"
    rf"(?:\s(?:by|in)\s(?:the\s(?:passages?|text|evidence)|passages?\s\d+(?:(?:,|\sand)\s\d+)*))?{_CLOSE}"
)
# "CONTRADICTED: the passage says the opposite.", "NEITHER - not mentioned", "SUPPORTED (confidence 0.9)"
_EXPLAINED = regex(
    rf"(?P<verdict>{_OPEN}(?:(?i:{_NAMED}){_OPEN})?(?:{_WORD})[\"'\])}}]*)\s*(?:[:;,]|\s-\s|\(|\b(?=because\b))\s*"
    r"(?P<rest>(?i:(?:confidence|certainty|probability)\W*[\d.]+%?\W*$)|(?!(?i:no|not|false|yes|true)\b)(?:\S+\s+){2}\S.*)",
    re.DOTALL,
)
_KEYS = ("verdict", "label", "relation", "answer", "judgement", "judgment", "conclusion")
_UNFINISHED = regex(
    r"\b(?:not|not quite|never|no|non|hardly|barely|partly|partially|mostly|half|false|wrong|un)\W*$",
    re.IGNORECASE,
)
_ASKS = regex(r"\W*(?:is|are|does|do|whether|if|would)\b", re.IGNORECASE)
_NEITHER = regex(
    r"[^.!?]{0,80}\bneither supports?(?:ed)? n?or contradicts?(?:ed)?\b[^.!?]{0,80}[.!]?", re.IGNORECASE
)
_SENTENCE = regex(r"(?<=[.!])\s+|\n+")
_SAID = regex(rf"\b(?:{'|'.join(WORDS)})\b")
_TAKEN_BACK = regex(
    r"\b(?:partial\w*|partly|in part|however|although|though|except|unless)\b|\bnot (?:fully|entirely)\b",
    re.IGNORECASE,
)
# Words that take back "SUPPORTED" and explain the other two verdicts.
_LIMITED = regex(
    r"\b(?:only|but)\b|(?:\bnot|n't|\bnever|\bno passage)\s(?:\w+\s)?"
    r"(?:support|entail|mention|stat|contain|say|address|provid|discuss|report)\w*",
    re.IGNORECASE,
)

_BOLD = regex(r"\*\*|__")
_CLAIM = regex(
    r"(?:[-*•·▪◦‣]\s+|(?:claim\s)?\(?\d{1,3}\\?[.):](?!\d)\s*|\(?[a-z]\)\s*|[①-⑳]\s*)(\S.*)", re.IGNORECASE
)
_FRAME = regex(r"```\w*|</?claims?>|#{1,6}\s.*|claims?", re.IGNORECASE)  # lines around the list
_NO_CLAIM = regex(
    r"\W*(?:claims?\W+)?(?:none(?: (?:identified|found|made))?|n/a|no claims?(?: (?:is|are|was|were) \w+)?"
    r"|(?:(?:the|this) text|it|there)\s(?:makes|contains|has|are|is) no (?:\w+\s)?claims?"
    r"(?: in (?:the|this) text)?"
    r"|(?:(?:the|this) text|it) (?:does not|doesn't) \w+ any (?:\w+\s)?claims?)\W*",
    re.IGNORECASE,
)


def read_relation(reply: str) -> Relation | None:
    """Return the verdict of a reply (version 2); None where it gives none or several.

    A verdict is a sentence or a line of the word alone ("SUPPORTED.", ``{"verdict": "SUPPORTED"}``), with an
    introduction before it ("Verdict: SUPPORTED"), or "The statement is SUPPORTED by the passages." Other
    sentences, or words behind a colon or a dash, may explain it. They must not deny this verdict or state
    another, nor take the verdict back that stands before them ("SUPPORTED. However, …"). In a JSON object the
    field ``verdict`` decides, whatever other fields say.
    """
    text = without_marks(plain(reply))
    if (field := _field(text)) is not None:
        return WORDS.get(field.strip(" .").upper())
    sentences = [part for sentence in _SENTENCE.split(text) if sentence.strip() for part in _parts(sentence)]
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
        if denied(explained, match.start(), match.end()) == (WORDS[match[0]] == relation):
            return None
    taken_back = _TAKEN_BACK.search(explained) or (relation == "entails" and _LIMITED.search(explained))
    return None if verdicts[-1] is None and taken_back else relation


def _field(text: str) -> str | None:
    """Return the verdict's field of a reply that holds a JSON object of several fields, or None."""
    begin, end = text.find("{"), text.rfind("}")
    try:
        fields = json.loads(text[begin : end + 1], strict=False) if 0 <= begin < end else None
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    said = [value for key, value in fields.items() if key.lower() in _KEYS and isinstance(value, str)]
    return said[0] if len(said) == 1 else None


def _parts(sentence: str) -> list[str]:
    """Return a verdict and the words that explain it as two sentences; any other sentence as it is."""
    match = _EXPLAINED.fullmatch(sentence.strip())
    return [match["verdict"], match["rest"]] if match else [sentence]


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

    "NONE", also as an item of the list, is no claim. A first line that ends with a colon, "Claims" and
    ``## …`` are headings. None where a line is no item, or "NONE" stands beside claims.
    """
    lines = [line for text in fold(reply).splitlines() if (line := _BOLD.sub("", text).strip())]
    lines = [line for line in lines if not _FRAME.fullmatch(line)]
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
