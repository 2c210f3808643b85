"""The option that stands at the beginning of a text: by its letter, or by its own text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit.choice.extractor import Reading
from evalkit.choice.statements import AFTER
from evalkit.reading.patterns import regex

_FILL = (
    r"(?:either|both|the|is|be|it|option|choice|answer|letter|number|correct|right|final|most|very|more|likely"
    r"|probably|clearly|definitely|certainly|obviously|therefore|thus|indeed|simply|actually|best|only"
    r"|la|el|le|die|der|donc|daher|somit|portanto|quindi|letra|lettre|opci[oó]n|alternativa|(?-i:a)(?=\s+(?:(?-i:[A-Z]\b)|letra|op[cç])))"
)
_MARK = r"[^\w✗✘✖❌×≠¬~]*"
_HEAD = regex(
    rf"(?P<lead>{_MARK}(?:(?:{_FILL}\b|选项|選項)[\s:,(\"'\[*-]*){{0,6}})(?P<letter>[A-Za-z]){AFTER}(?P<after>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LEAD = regex(rf"{_MARK}(?:(?:{_FILL}\b|选项|選項)[\s:,(\"'\[*-]*){{0,6}}", re.IGNORECASE)
# A capital letter that begins a sentence's next words, such as "A drug" or "C difficile", is no option.
_ENDS = regex(
    r"\s*(?:$|[.,:;)\[\]}\"'/&+<>|!]|-(?!\w)|\(|\n|[^\x00-\u024f]"
    r"|(?:because|since|as|for|which|or|and|but|not|due|given|with|in|on|by|from|based|is|was|rather|instead"
    r"|over|when|while|now|here|too|today|overall|though)\b|[A-Z])"
)
_DELIMITED = regex(r"\s*(?:$|[.:(\[)\]}\"',/&+<>|!;]|-(?!\w)|[^\x00-\u024f])")
_SECOND = regex(
    r"[)\].\"'\s(]*(?P<sep>(?:[,/&+;|]|-(?=\s*[(\[]?[A-Z]\b)|\b(?:or|and|plus|y|et|o|ou|oder|und|as\s+well\s+as)\b"
    r"|或|和|と|또는|:(?=\s*[A-Z][\s.)]*$)|(?<![)\].:])\s(?=[A-Z][\s.)]*$))(?:\s*(?:/|\bor\b|\band\b))*)"
    rf"[\s(\[\"'/]*(?:(?:option|choice|even|maybe|possibly|perhaps)\s+){{0,2}}[(\[]?(?P<letter>[A-Z]){AFTER}(?P<after>.*)",
    re.DOTALL,
)
# After "B, C" or "B; C" the reply may go on with what C is; "B or C" and "B/C" name two options in any case.
_MORE = regex(
    r"(?:[)\]\"'\s]*(?:[,;&/]|\band\b|\bor\b)+[\s(\[\"']*[A-Z]\b)*[)\]\"'\s]*(?:$|[.!\n;,]|\bare\b\s+(?:all|both|correct|right|true|possible))"
)
_CJK_FALSE = regex(
    r"\s*(?:选项|選項)?\s*(?:是?不|是?错|是?錯|是?误|では?(?:な[いく]|ありません)|じゃ(?:な[いく]|ありません)|[はが](?:誤|間違|不正解)|[은는이가]\s*(?:오답|틀|아니|아닙))"
)
_WRONG = regex(
    r"[)\].\"'\s]*(?:is|are|was|were|would\s+be)\s+(?:not|incorrect|wrong|false|ruled|less|un)|[)\]\"']*\s*(?:isn't|can't|cannot)"
)
_RUN = regex(rf"[\s\"'(\[]*(?P<letters>[A-Z]{{2,6}}){AFTER}[\s.)\]\"']*$")
_NO_ANSWER = regex(
    r"\s*[:.-]\s*(?:I\s+(?:do\s+not|don't|cannot|can't|am\s+(?:not|unable))|sorry\b)", re.IGNORECASE
)
# "insulin and metformin", but not "insulin, and metformin is wrong".
_AND_TEXT = regex(
    r"[)\]\"'.]*\s*,?\s*(?:[/&+|]|\b(?:and/or|or|and|plus|as\s+well\s+as|y|et|o|ou|oder|und)\b)\s*(?:the\s+|also\s+)?"
    r"[\"'(\[]*"
)
_VERB = regex(r"\W*(?:is|was|has|does|do|would|should|can|cannot|could|may|might|will|acts?|works?)\b")
# What makes another number of a number: "3.5", "3-4", "3 to 4", "3/4".
_NUMBER_GOES_ON = r"(?<=\d)(?:[.,]\d|\s?[-/:~]\s?\d|\s(?:to|or)\s\d)"
_BECAUSE = regex(r"\s+(?:because|since|as|due|given|rather|instead|over|not)\b")


def option_at_start(content: str, options: Sequence[str]) -> tuple[Reading, int, int] | None:
    """Return the option that ``content`` begins with, and the place of its letter or text.

    ``options`` are folded texts (``folded``). Words such as "the correct option" may stand in front. The
    reading is ambiguous where a second option follows ("A or C"). A text of which an option has the same
    ("C. difficile") is this option, unless the letter's own option follows the letter.
    """
    text = _text_at_start(content, options)
    match = _HEAD.match(content)
    index = _letter_index(match, options) if match else None
    if match and index is not None and (text is None or own_text_follows(match, options)):
        start, end = match.span("letter")
        other = None if own_text_follows(match, options) else _SECOND.match(match["after"])
        if other and index_of(other["letter"], options) not in (None, index) and _is_second(other):
            return Reading(None, "ambiguous"), start, end
        return Reading(index, "letter"), start, end
    if text is not None:
        return text
    run = _RUN.match(content)
    letters = set(run["letters"]) if run else set()
    if run and len(letters) > 1 and all(index_of(one, options) is not None for one in letters):
        return Reading(None, "ambiguous"), *run.span("letters")
    return None


def line_letter(line: str, options: Sequence[str]) -> int | None:
    """Return the index of the letter with which a line begins, marked off from what follows."""
    match = _HEAD.match(line)
    if match is None:
        return None
    after, index = match["after"], _letter_index(match, options)
    own = own_text_follows(match, options)
    if index is None or (match["letter"].islower() and not own and after.strip(" .)]\"'")):
        return None
    if re.match(r"[\"']\s*:", after):  # a key of a JSON object, such as the options with their probabilities
        return None
    return index if own or _BECAUSE.match(after) or _DELIMITED.match(after) else None


def letter_and_rest(line: str, options: Sequence[str]) -> tuple[tuple[int, int], str]:
    """Return the place of the letter that begins a line, and what follows it and its option's own text."""
    match = _HEAD.match(line)
    if match is None:
        return (0, 0), line
    rest = match["after"].lstrip(" .):]-,\"'")
    if own_text_follows(match, options):
        own = options[ord(match["letter"].upper()) - ord("A")]
        text = re.match(r"\s+".join(map(re.escape, own.split())), rest, re.IGNORECASE)
        rest = rest[text.end() :] if text else ""
    return match.span("letter"), rest.lstrip(" .,:;()-")


def text_alone(part: str, options: Sequence[str]) -> int | None:
    """Return the only option that ``part`` is the text of, with or without words such as "the answer is"."""
    said = folded(_LEAD.sub("", part, count=1))
    same = [i for i, option in enumerate(options) if option and option in (said, folded(part))]
    return same[0] if len(same) == 1 else None


def _is_second(other: re.Match[str]) -> bool:
    """Return whether a letter after the first one names a second option, and begins no other clause."""
    after = other["after"]
    if _WRONG.match(after) or (other["letter"] in "AI" and not _ENDS.match(after)):
        return False
    return other["sep"].strip() not in (",", ";", "-") or _MORE.match(after) is not None


def _letter_index(match: re.Match[str], options: Sequence[str]) -> int | None:
    """Return the index of the letter that ``_HEAD`` found, None where it is no option's or begins a word."""
    letter, after = match["letter"], match["after"]
    index = index_of(letter.upper(), options)
    if index is None or not (own_text_follows(match, options) or _ends_here(letter, after)):
        return None
    word = re.match(r"\.\s?([a-z]{4,})", after)  # "C. difficile" is no C where another option is difficile
    other = word and word[1] not in options[index] and any(word[1] in option for option in options)
    return None if other else index


def _ends_here(letter: str, after: str) -> bool:
    if _CJK_FALSE.match(after) or _NO_ANSWER.match(after):
        return False
    return (_DELIMITED if letter.islower() else _ENDS).match(after) is not None


def own_text_follows(match: re.Match[str], options: Sequence[str]) -> bool:
    """Return whether the option's own text follows its letter: ``B. insulin``."""
    index = index_of(match["letter"].upper(), options)
    own = "" if index is None else options[index]
    after = folded(match["after"].lstrip(" .):]-,\"'"))
    return after.startswith(own) if len(own) > 1 else bool(own) and after == own


def _text_at_start(content: str, options: Sequence[str]) -> tuple[Reading, int, int] | None:
    """Return the option of which ``content`` begins with the text, the longest one, and its place."""
    for lead in (0, _LEAD.match(content).end()):  # type: ignore[union-attr]
        text = folded(content[lead:])
        begin = [i for i, option in enumerate(options) if _begins_with(text, option, options)]
        if begin:
            longest = max(len(options[i]) for i in begin)
            best = [i for i in begin if len(options[i]) == longest]
            one = len(best) == 1 and not _another_text_follows(text[longest:], best[0], options)
            rule = Reading(best[0], "text") if one else Reading(None, "ambiguous")
            return rule, lead, min(len(content), lead + longest)
    return None


def _begins_with(text: str, option: str, options: Sequence[str]) -> bool:
    """Return whether a text begins with an option's text, which is not the letter of an option."""
    if not option or (
        len(option) == 1 and option.isalpha() and index_of(option.upper(), options) is not None
    ):
        return False
    return re.match(re.escape(option) + rf"(?!\w|{_NUMBER_GOES_ON})", text) is not None


def _another_text_follows(rest: str, first: int, options: Sequence[str]) -> bool:
    """Return whether the text of a second option follows the first: ``insulin or metformin``."""
    joint = _AND_TEXT.match(rest)
    if joint is None:
        return False
    rest = rest[joint.end() :]
    others = [o for i, o in enumerate(options) if i != first and _begins_with(rest, o, options)]
    return bool(others) and _VERB.match(rest[max(map(len, others)) :]) is None


def index_of(letter: str, options: Sequence[str]) -> int | None:
    """Return the index of a capital letter, None where it is no option's."""
    index = ord(letter) - ord("A")
    return index if 0 <= index < min(len(options), 26) else None


def folded(text: str) -> str:
    """Return a text for comparison: lower case, single spaces, no quotes or full stops around it."""
    return " ".join(text.lower().split()).strip(" .\"'")
