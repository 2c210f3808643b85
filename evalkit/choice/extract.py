"""Reading a choice out of a reply: extractors with a version each, so that a score says how it was read.

An extractor never guesses. What names no option, or two of them, is *unparsed*: no choice, score 0.

``letter.v1`` reads, in this order:

1. **Explicit statements**, the last one in the reply: a JSON field (``"answer_choice": "C"``, also
   ``answer``, ``choice``, ``final_answer``, with anything before it), ``\\boxed{C}``, ``Answer: C``, ``the
   correct option is (C)``. What is stated may be a letter, or an option's own text (``the answer is
   insulin``). A field, a box or "none of …" that names no option says that there is no choice: nothing
   further is read. ``A/B``, ``A or B`` are two options.
2. **A letter at the beginning**: the first line is a letter, alone or before the option's text (``C``,
   ``(C)``, ``C. insulin``), and no other line begins with another letter; then the same for the last line.
   A last line that is nothing but a letter counts also behind such lines.
3. **The only option mentioned** as ``(C)`` or ``option C``, where it is not denied.
4. **The option's text**: the whole reply, or its last line, is the text of one option.

Markup (``**``, ``$``, ``\\text{}``, backticks) is removed first; case counts for letters inside sentences.

``mirage.v1`` and ``mmmu_pro.v1`` are the rules behind published scores, with their flaws: for comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evalkit.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Reading:
    """What an extractor found: an index into the options or None, and the ``rule`` that decided."""

    choice: int | None
    rule: str


@dataclass(frozen=True)
class Extractor:
    """A versioned way to read a reply. ``id`` (``letter.v1``) is stored with every answer."""

    name: str
    version: int
    read: Callable[[str, Sequence[str]], Reading]

    @property
    def id(self) -> str:
        """Name and version."""
        return f"{self.name}.v{self.version}"

    def __call__(self, text: str, options: Sequence[str]) -> Reading:
        """The option that ``text`` names, of ``options`` in the order in which the model was shown them."""
        return self.read(text, options)


_MACRO = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|boldsymbol|bf|rm)\s*\{([^{}]*)\}")
_NESTED = 8  # macros inside macros; a hostile reply may nest without end
_MARKS = re.compile(r"[*`$]|\\[()\[\],;! ]|\\(?:quad|displaystyle)|(?<!\w)_+|_+(?!\w)")
_FIELD = re.compile(
    r'"(?:step_)?(?:final_)?(?:answer|choice|option)(?:_choice|_letter)?"\s*:\s*(?:"([^"\n]*)|([A-Za-z])\b)',
    re.IGNORECASE,
)
_BOX = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_SAID = re.compile(
    r"\b(?:(?:answer|option|choice)s?(?:\s+(?:choice|letter|option|number))?"
    r"(?:\s+(?:is|would\s+be|should\s+be|must\s+be|will\s+be)\b(?:\s*:)?|\s*[:=])"
    r"|(?:is|be|choose|select|pick)\s+(?=(?:option|choice)\b))"
    r"(?:\s*(?:therefore|thus|clearly),?)?\s*(?P<rest>[^\n]{0,1000})",
    re.IGNORECASE,
)
_HEAD = re.compile(
    r"[\s\"'“‘(\[{<:>#-]*(?:(?:the\s+)?(?:correct\s+|final\s+|best\s+)?(?:option|choice|answer|letter)\b[\s:(\"']*)?"
    r"(?P<letter>[A-Za-z])(?![\w'’])(?P<after>.*)",
    re.IGNORECASE | re.DOTALL,
)
_SECOND = re.compile(
    r"[)\].\"'\s]*(?:[,/&+]|\bor\b|\band\b|\bor/and\b)+[\s(\[\"']*(?:option\s+|choice\s+)?([A-Z])(?!\w)"
)
# Behind "A" or "I", which are words too, only what cannot go on a sentence.
_ENDS = re.compile(r"\s*(?:$|[.,:;)\]}\"'”’/&+<|–—-]|\(|\n|(?:because|since|as|for|which|or|and|due)\b)")
_ANY = re.compile("")
_DELIMITED = re.compile(r"\s*(?:$|[.:)\]}\"'”’,/&+<|–—-])")
_DENIED = r"[)\].\"']*\s*(?:is|are|was|would be)\s+(?:not|incorrect|wrong|false|ruled)\b"
_MENTIONED = re.compile(rf"(?:[(\[]([A-Z])[)\]]|\b[Oo]ption ([A-Z])\b)(?!{_DENIED})")
_NONE = re.compile(r"\s*[\"']?(?:none|neither|not\s+(?:listed|given|provided|among))\b", re.IGNORECASE)


def clean(text: str) -> str:
    """A reply without the markup that surrounds letters."""
    for _ in range(_NESTED):
        text, changed = _MACRO.subn(r"\1", text)
        if not changed:
            break
    return _MARKS.sub("", text)


def _letter_v1(text: str, options: Sequence[str]) -> Reading:
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
    """The last explicit statement that decides."""
    for start, kind, end in sorted(_statements(plain), reverse=True):
        said = plain[start:end]
        reading = _head(said, options)
        if reading is not None:
            return Reading(reading.choice, kind if reading.choice is not None else reading.rule)
        if kind != "stated" or _NONE.match(said):
            return Reading(None, f"{kind}: no option")
    return None


def _statements(plain: str) -> Iterator[tuple[int, str, int]]:
    """Where each statement's content begins, its kind, and where it ends."""
    for field in _FIELD.finditer(plain):
        group = 1 if field[1] is not None else 2
        yield field.start(group), "field", field.end(group)
    for box in _BOX.finditer(plain):
        yield box.start(1), "boxed", box.end(1)
    position = 0
    while said := _SAID.search(plain, position):
        yield said.start("rest"), "stated", said.end("rest")
        position = max(said.start("rest"), position + 1)  # a line may hold several


def _head(said: str, options: Sequence[str]) -> Reading | None:
    """The option at the beginning of ``said``: a letter, or the text of one option."""
    match = _HEAD.match(said)
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
    return _text_at_start(said, options)


def _text_at_start(said: str, options: Sequence[str]) -> Reading | None:
    folded = _folded(said)
    begin = [
        i for i, o in enumerate(options) if _folded(o) and re.match(re.escape(_folded(o)) + r"(?!\w)", folded)
    ]
    if not begin:
        return None
    longest = max(len(_folded(options[i])) for i in begin)
    best = [i for i in begin if len(_folded(options[i])) == longest]
    return Reading(best[0], "text") if len(best) == 1 else Reading(None, "ambiguous")


def _beginning(plain: str, options: Sequence[str]) -> Reading | None:
    """The letter with which the first line begins, else the last one."""
    lines = [line for line in plain.splitlines() if line.strip()]
    found = [_line_letter(line, options) for line in lines]
    bare = [line.strip(" .:()[]") for line in lines]
    if bare and len(bare[-1]) == 1 and all(len(one) > 1 or one == bare[-1] for one in bare):
        found = found[-1:]  # the options one by one, and in the end one letter: that is the answer
    letters = {reading.choice for reading in found if reading and reading.choice is not None}
    if len(letters) > 1:
        return Reading(None, "ambiguous")
    for reading in found[:1] + found[-1:]:
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
    found = {i for letter in letters if (i := _index(letter, count)) is not None}
    if not found:
        return None
    return Reading(found.pop(), "mentioned") if len(found) == 1 else Reading(None, "ambiguous")


def _index(letter: str, count: int) -> int | None:
    place = ord(letter) - ord("A")
    return place if 0 <= place < min(count, 26) else None


def _last_line(plain: str) -> str:
    return plain.splitlines()[-1] if plain else ""


def _folded(text: str) -> str:
    """Text for comparison: lower case, single spaces, without quotes and the full stop around it."""
    return " ".join(text.lower().split()).strip(" .\"'“”‘’")


# MIRAGE's order of rules, each a pattern after which the letter is taken.
_MIRAGE = (r"([A-D])$", r"([A-D]) or", r"([A-D]) and", r"([A-D])/", r"([A-D]),")
_MIRAGE_ANYWHERE = (r"[Oo]ption ([A-D])", r": ?([A-D])")
_MIRAGE_LAST = (r"([A-D])\.", r'([A-D])"', r"([A-D]):")


def _mirage_v1(text: str, options: Sequence[str]) -> Reading:
    """MIRAGE's published rule. Its flaw is kept on purpose: what it cannot read counts as option A."""
    if not text:
        return Reading(None, "empty")
    rest = text.rpartition('"answer_choice": "')[2].strip()
    for pattern in _MIRAGE:
        if match := re.match(pattern, rest):
            return Reading(ord(match[1]) - ord("A"), "mirage")
    for pattern in _MIRAGE_ANYWHERE:
        if match := re.search(pattern, rest):
            return Reading(ord(match[1]) - ord("A"), "mirage")
    for pattern in _MIRAGE_LAST:
        if match := re.match(pattern, rest):
            return Reading(ord(match[1]) - ord("A"), "mirage")
    return Reading(0, "mirage: nothing read, counted as A")


def _mmmu_pro_v1(text: str, options: Sequence[str]) -> Reading:
    """MMMU-Pro's published rule: a letter wherever one stands, also as a word or an initial of the answer.

    Where it finds none the authors draw an option at random; here that is no choice.
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
        found = [i for i, letter in enumerate(letters) if pattern.format(letter) in text]
        if found:
            return Reading(
                max(found, key=lambda i: (text.rfind(last.format(letters[i])), -i)), "mmmu_pro: letter"
            )
    if len(text.split()) > 5:
        lower = text.lower()
        found = [i for i, option in enumerate(options) if option.lower() in lower]
        if found:
            return Reading(max(found, key=lambda i: (lower.rfind(options[i].lower()), -i)), "mmmu_pro: text")
    return Reading(None, "mmmu_pro: drawn at random")


letter = Extractor("letter", 1, _letter_v1)
mirage = Extractor("mirage", 1, _mirage_v1)
mmmu_pro = Extractor("mmmu_pro", 1, _mmmu_pro_v1)
EXTRACTORS = {extractor.id: extractor for extractor in (letter, mirage, mmmu_pro)}


def extractor(name: str) -> Extractor:
    """An extractor by its id (``letter.v1``) or its name: the newest version. Raises ``UsageError``."""
    newest = {e.name: e for e in EXTRACTORS.values()}
    found = EXTRACTORS.get(name) or newest.get(name)
    if found is None:
        raise UsageError(
            f"no extractor {name!r}.{did_you_mean(name, EXTRACTORS)} Known: {', '.join(EXTRACTORS)}."
        )
    return found
