"""``letter.v1``: the first version of our extractor, kept for runs that were read by it.

It reads, in this order:

1. **Explicit statements**, the last one in the reply: a JSON field (``"answer_choice": "C"``, also
   ``answer``, ``choice``, ``final_answer``, with any text before the field), ``\\boxed{C}``, ``Answer: C``,
   ``the correct option is (C)``. The statement may hold a letter or an option's own text (``the answer is
   insulin``). A field, a box or "none of …" that names no option says that there is no choice: the reply is
   not read further. ``A/B`` and ``A or B`` are two options.
2. **A letter at the beginning**: the first line is a letter, alone or before the option's text (``C``,
   ``(C)``, ``C. insulin``), and no other line begins with another letter; then the same for the last line.
   A last line of one letter alone also counts after lines that begin with other letters.
3. **The only option mentioned** as ``(C)`` or ``option C``, without a denial after it.
4. **The option's text**: the whole reply, or its last line, is the text of one option.

Its known faults are mended in ``letter.v2``: "the incorrect answer is A" is read as A, and text as models
type it (full-width letters, other languages, tags) is left unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evalkit.choice.extractor import Reading
from evalkit.reading.patterns import regex

_MACRO = regex(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|boldsymbol|bf|rm)\s*\{([^{}]*)\}")
_NESTED = 8  # levels of macros inside macros: a hostile reply may nest without end
_MARKS = regex(r"[*`$]|\\[()\[\],;! ]|\\(?:quad|displaystyle)|(?<!\w)_+|_+(?!\w)")
_FIELD = regex(
    r'"(?:step_)?(?:final_)?(?:answer|choice|option)(?:_choice|_letter)?"\s*:\s*(?:"([^"\n]*)|([A-Za-z])\b)',
    re.IGNORECASE,
)
_BOX = regex(r"\\boxed\s*\{([^{}]*)\}")
_STATEMENT = regex(
    r"\b(?:(?:answer|option|choice)s?(?:\s+(?:choice|letter|option|number))?"
    r"(?:\s+(?:is|would\s+be|should\s+be|must\s+be|will\s+be)\b(?:\s*:)?|\s*[:=])"
    r"|(?:is|be|choose|select|pick)\s+(?=(?:option|choice)\b))"
    r"(?:\s*(?:therefore|thus|clearly),?)?\s*(?P<rest>[^\n]{0,1000})",
    re.IGNORECASE,
)
_HEAD = regex(
    r"[\s\"'“‘(\[{<:>#-]*(?:(?:the\s+)?(?:correct\s+|final\s+|best\s+)?(?:option|choice|answer|letter)\b[\s:(\"']*)?"
    r"(?P<letter>[A-Za-z])(?![\w'’])(?P<after>.*)",
    re.IGNORECASE | re.DOTALL,
)
_SECOND = regex(
    r"[)\].\"'\s]*(?:[,/&+]|\bor\b|\band\b|\bor/and\b)+[\s(\[\"']*(?:option\s+|choice\s+)?([A-Z])(?!\w)"
)
# "A" and "I" are also words: they count as letters only before text that cannot continue a sentence.
_ENDS = regex(r"\s*(?:$|[.,:;)\]}\"'”’/&+<|–—-]|\(|\n|(?:because|since|as|for|which|or|and|due)\b)")
_ANY = regex("")
_DELIMITED = regex(r"\s*(?:$|[.:)\]}\"'”’,/&+<|–—-])")
_DENIED = r"[)\].\"']*\s*(?:is|are|was|would be)\s+(?:not|incorrect|wrong|false|ruled)\b"
_MENTIONED = regex(rf"(?:[(\[]([A-Z])[)\]]|\b[Oo]ption ([A-Z])\b)(?!{_DENIED})")
_NONE = regex(r"\s*[\"']?(?:none|neither|not\s+(?:listed|given|provided|among))\b", re.IGNORECASE)


def clean(text: str) -> str:
    """Return a reply without the markup around letters."""
    for _ in range(_NESTED):
        text, changed = _MACRO.subn(r"\1", text)
        if not changed:
            break
    return _MARKS.sub("", text)


def read(text: str, options: Sequence[str]) -> Reading:
    plain = clean(text).strip()
    options = [clean(option) for option in options]
    for reading in (_stated(plain, options), _beginning(plain, options), _mentioned(plain, len(options))):
        if reading is not None:
            return reading
    for part in (plain, _last_line(plain)):
        same = [i for i, option in enumerate(options) if _folded(part) and _folded(option) == _folded(part)]
        if len(same) == 1:
            return Reading(same[0], "text")
    return Reading(None, "none")


def _stated(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the reading of the last explicit statement that decides."""
    for start, kind, end in sorted(_statements(plain), reverse=True):
        content = plain[start:end]
        reading = _head(content, options)
        if reading is not None:
            return Reading(reading.choice, kind if reading.choice is not None else reading.rule)
        if kind != "stated" or _NONE.match(content):
            return Reading(None, f"{kind}: no option")
    return None


def _statements(plain: str) -> Iterator[tuple[int, str, int]]:
    """Yield the start of each statement's content, its kind, and the end of the content."""
    for field in _FIELD.finditer(plain):
        group = 1 if field[1] is not None else 2
        yield field.start(group), "field", field.end(group)
    for box in _BOX.finditer(plain):
        yield box.start(1), "boxed", box.end(1)
    position = 0
    while statement := _STATEMENT.search(plain, position):
        yield statement.start("rest"), "stated", statement.end("rest")
        position = max(statement.start("rest"), position + 1)  # a line may hold several


def _head(content: str, options: Sequence[str]) -> Reading | None:
    """Return the option at the beginning of ``content``: a letter, or the text of one option."""
    match = _HEAD.match(content)
    if match:
        letter, after = match["letter"], match["after"]
        index = _index(letter.upper(), len(options))
        small = letter.islower()
        ends = _ENDS if letter in "AI" else _ANY
        if re.match(_DENIED, after):
            return None
        if index is not None and (_DELIMITED if small else ends).match(after):
            other = _SECOND.match(after)
            if other and _index(other[1], len(options)) not in (None, index):
                return Reading(None, "ambiguous")
            return Reading(index, "letter")
    return _text_at_start(content, options)


def _text_at_start(content: str, options: Sequence[str]) -> Reading | None:
    folded = _folded(content)
    begin = [
        i for i, o in enumerate(options) if _folded(o) and re.match(re.escape(_folded(o)) + r"(?!\w)", folded)
    ]
    if not begin:
        return None
    longest = max(len(_folded(options[i])) for i in begin)
    best = [i for i in begin if len(_folded(options[i])) == longest]
    return Reading(best[0], "text") if len(best) == 1 else Reading(None, "ambiguous")


def _beginning(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the letter with which the first line begins, else that of the last line."""
    lines = [line for line in plain.splitlines() if line.strip()]
    readings = [_line_letter(line, options) for line in lines]
    bare = [line.strip(" .:()[]") for line in lines]
    if bare and len(bare[-1]) == 1 and all(len(line) > 1 or line == bare[-1] for line in bare):
        readings = readings[-1:]  # a list of the options, then one letter: this letter is the answer
    letters = {reading.choice for reading in readings if reading and reading.choice is not None}
    if len(letters) > 1:
        return Reading(None, "ambiguous")
    for reading in readings[:1] + readings[-1:]:
        if reading is not None:
            return Reading(reading.choice, "letter" if reading.choice is not None else reading.rule)
    return None


def _line_letter(line: str, options: Sequence[str]) -> Reading | None:
    match = _HEAD.match(line)
    if match is None or not _DELIMITED.match(match["after"]):
        return None
    if match["letter"].islower() and match["after"].strip(" .)]\"'"):
        return None
    reading = _head(line, options)
    return reading if reading is None or reading.rule != "text" else None


def _mentioned(plain: str, count: int) -> Reading | None:
    letters = (match[1] or match[2] for match in _MENTIONED.finditer(plain))
    mentioned = {i for letter in letters if (i := _index(letter, count)) is not None}
    if not mentioned:
        return None
    return Reading(mentioned.pop(), "mentioned") if len(mentioned) == 1 else Reading(None, "ambiguous")


def _index(letter: str, count: int) -> int | None:
    index = ord(letter) - ord("A")
    return index if 0 <= index < min(count, 26) else None


def _last_line(plain: str) -> str:
    return plain.splitlines()[-1] if plain else ""


def _folded(text: str) -> str:
    """Return a text for comparison: lower case, single spaces, no quotes or full stops around it."""
    return " ".join(text.lower().split()).strip(" .\"'“”‘’")
