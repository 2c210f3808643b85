"""``letter.v2``: read the option that a reply states, by its letter or its text.

Text is folded first (``evalkit.reading.fold``); reasoning and markup are removed; a single Cyrillic or Greek
letter that looks like a Latin one is read as that. Then, in this order:

1. **Explicit statements**, the last one that is not denied: a JSON field (``"answer": "C"``), a tag
   (``<answer>C</answer>``), ``\\boxed{C}``, ``Answer: C``, ``the correct option is likely (C)``,
   ``I choose C``, ``Therefore, C.``, ``not A but C``, ``答案：C``, ``respuesta: C``. The statement may hold a
   letter or an option's own text. A field, a tag, a box, "none of …" or a letter that is no option's says
   that there is no choice: the reply is not read further. ``A/C``, ``A; C`` and ``A or C`` are two options.
2. **The only option that is called right**: ``C is correct``, ``C: correct``, ``insulin is the answer``.
3. **A letter at the beginning** of the first or the last line (``C``, ``(C)``, ``C. insulin``), if no other
   line begins with another letter. A last line of one letter alone counts in any case.
4. **The only option mentioned** as ``(C)`` or ``option C``.
5. **The option's text**: the whole reply, or its last line, is the text of one option.

A correction takes the place of what it corrects ("A. Correction: B."). Two options are none ("insulin and
metformin", "the answer is B. C is also correct").
What a sentence denies is not read: "the incorrect answer is A", "A is wrong", "a common mistake is (A)",
"if the answer is A", "I doubt that the answer is A". A text of which an option has the same ("C. difficile")
is that option, and no letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice

from evalkit.choice.at_start import folded, index_of, line_letter, option_at_start, text_alone
from evalkit.choice.extractor import Reading
from evalkit.choice.letter_v1 import clean
from evalkit.choice.statements import AFTER, Statement, statements
from evalkit.choice.verdicts import (
    PLACES,
    also_right,
    called_right,
    corrected,
    doubted,
    is_denied,
    letter_of_line,
)
from evalkit.reading.fold import fold
from evalkit.reading.negation import denied
from evalkit.reading.patterns import regex
from evalkit.reading.reasoning import split_reasoning

_LONGEST = 200_000  # characters of a reply that are read, from its end
_LINES = 20  # lines after "Answer:" in which a list of the options would begin

_TAGS = regex(
    r"<(?P<name>b|i|u|p|em|strong|span|div|mark|center)\b[^<>]{0,200}>(?P<inner>[^<>]*)</(?P=name)>",
    re.IGNORECASE,
)
_BRACKETS = str.maketrans("「」『』《》〈〉", '""""""""')
_STRUCK = regex(r"~~[^~\n]{0,500}~~")
_ENCLOSED = regex("[\u24b6-\u24e9\U0001f110-\U0001f149\U0001d400-\U0001d6a3]")
_LOOK_ALIKE = str.maketrans("АВСЕНІКМОРТХΑΒΕΗΙΚΜΝΟΡΤΧаеосрх", "ABCEHIKMOPTXABEHIKMNOPTXaeocpx")
_SINGLE = regex(r"(?<!\w)[АВСЕНІКМОРТХΑΒΕΗΙΚΜΝΟΡΤΧаеосрх](?!\w)")

_NONE = regex(
    r"\s*[\"'(\[]*(?:none|null|n/a\b|neither|not\s+(?:listed|given|provided|among|available))\b",
    re.IGNORECASE,
)
_NOT = regex(r"\s*(?:certainly\s+|clearly\s+|definitely\s+)?(?:not|neither|never)\b", re.IGNORECASE)
_BUT = regex(
    r"[,;]?\s*\b(?:but|rather|instead)\b(?:\s+(?:rather|instead|is|it\s+is|it's))*\s*", re.IGNORECASE
)
_LONE_LETTER = regex(rf"[\s\"'(\[]*[A-WYZ]{AFTER}[)\]\"'.]*\s*(?:$|/)")  # an X is often a form's blank
_ASIDE = regex(
    r"\b(?:unlike|contrary\s+to|compared\s+(?:to|with)|than|versus|vs\.?)\s+(?:the\s+)?$", re.IGNORECASE
)
_TEMPTING = regex(r"\s+is\s+(?:\w+\s+)?(?:tempting|attractive|common|popular)\b", re.IGNORECASE)
_MENTIONED = regex(
    r"[(\[](?P<bracket>[A-Z])[)\]]|\b(?:[Oo]ption|[Cc]hoice|[Aa]ns(?:wer)?) (?P<named>[A-Z])(?![\w'-])"
)


def read(text: str, options: Sequence[str]) -> Reading:
    """Return the option that a reply states."""
    plain = _plain(text[-_LONGEST:])
    options = [folded(clean(fold(option))) for option in options]
    for rule in (_stated, called_right, letter_of_line, _mentioned):
        reading = rule(plain, options)
        if reading is not None:
            both = reading.choice is not None and also_right(plain, reading.choice, options)
            return Reading(None, "ambiguous") if both else reading
    return _by_text(plain, options) or Reading(None, "none")


def _plain(text: str) -> str:
    """Return a reply without reasoning, markup and letters that only look like Latin ones."""
    text = _STRUCK.sub(" ", _TAGS.sub(r"\g<inner>", fold(split_reasoning(text)[1])))
    if not text.isascii():
        text = _ENCLOSED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        text = _SINGLE.sub(lambda match: match[0].translate(_LOOK_ALIKE), text).translate(_BRACKETS)
    return clean(text).strip()


def _stated(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the reading of the last statement that decides."""
    taken_back: set[int] = set()
    for statement in statements(plain):
        reading = _of_statement(plain, statement, options)
        if isinstance(reading, int):
            taken_back.add(reading)
        elif reading is not None:
            return Reading(None, "taken back") if reading.choice in taken_back else reading
    return None


def _of_statement(plain: str, statement: Statement, options: Sequence[str]) -> Reading | int | None:
    """Return what a statement says: a reading, the index of an option that it denies, or None."""
    content = plain[statement.start : statement.end]
    if statement.kind == "stated" and _is_listing(plain, statement, options):
        return None
    found = option_at_start(content, options)
    if found is None and statement.whole:
        return _stated(content, options) or Reading(None, f"{statement.kind}: no option")
    if found is None and (no := _NOT.match(content)):
        if (but := _BUT.search(content)) and (found := option_at_start(content[but.end() :], options)):
            return Reading(found[0].choice, statement.kind)
        found = option_at_start(content[no.end() :], options)
        return found[0].choice if found else None
    if found is None:
        decides = statement.kind == "stated" and (_NONE.match(content) or _LONE_LETTER.match(content))
        return Reading(None, f"{statement.kind}: no option") if decides else None
    reading, start, end = found
    if (other := corrected(plain[statement.start + end :][:80], options)) is not None:
        return Reading(other, statement.kind)
    if not statement.whole and is_denied(plain, statement, statement.start + start, statement.start + end):
        return reading.choice if statement.kind == "stated" else None
    if reading.choice is None:
        return reading if statement.kind != "concluded" else None
    return Reading(reading.choice, statement.kind)


def _is_listing(plain: str, statement: Statement, options: Sequence[str]) -> bool:
    """Return whether "Answer:" is only the heading of a list of the options."""
    if "\n" not in plain[statement.begin : statement.start]:
        return False
    lines = [line for line in plain[statement.start :].splitlines()[:_LINES] if line.strip()]
    letters = [index for line in lines[:2] if (index := line_letter(line, options)) is not None]
    return len(set(letters)) == 2


def _mentioned(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the only option mentioned; ambiguous where several are."""
    mentioned = set()
    for match in islice(_MENTIONED.finditer(plain), PLACES):
        group = "bracket" if match["bracket"] else "named"
        index = index_of(match[group], options)
        aside = doubted(plain, match.start(), match.end()) or _ASIDE.search(
            plain[max(0, match.start() - 40) : match.start()]
        )
        after = plain[match.end() : match.end() + 60]
        aside = aside or after.startswith("?") or _TEMPTING.match(after)
        if index is not None and not aside and not denied(plain, *match.span(group)):
            mentioned.add(index)
        if len(mentioned) > 1:
            return Reading(None, "ambiguous")
    return Reading(mentioned.pop(), "mentioned") if mentioned else None


def _by_text(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the option that is the whole reply, its last line, or its first words before a comma or stop."""
    for part in (plain, *plain.splitlines()[-1:]):
        if (index := text_alone(part, options)) is not None:
            return Reading(index, "text")
    text = folded(plain)
    begun = [
        i for i, o in enumerate(options) if o and re.match(re.escape(o) + r"\s*(?![.,]\d)[,.;:!(]", text)
    ]
    others = [o for o in options if len(o) > 3 and o in text]
    if len(begun) == 1 and others in ([], [options[begun[0]]]):
        return Reading(begun[0], "text")
    return None
