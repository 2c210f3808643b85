"""``letter.v2``: read the option that a reply states, by its letter or its text.

Text is folded first (``evalkit.reading.fold``); reasoning and markup are removed; a single Cyrillic or Greek
letter that looks like a Latin one is read as that. Then, in this order:

1. **Explicit statements**, the last one that is not denied: a JSON field (``"answer": "C"``), a tag
   (``<answer>C</answer>``), ``\\boxed{C}``, ``Answer: C``, ``the correct option is likely (C)``, ``I choose C``,
   ``Therefore, C.``, ``not A but C``, ``答案：C``, ``respuesta: C``. The statement may hold a letter or an
   option's own text. A field, a tag, a box, "none of …" or a letter that is no option's says that there is no
   choice: the reply is not read further. ``A/C``, ``A; C`` and ``A or C`` are two options.
2. **The only option that is called right**: ``C is correct``, ``C: correct``, ``insulin is the answer``.
3. **A letter at the beginning** of the first or the last line (``C``, ``(C)``, ``C. insulin``), if no other
   line begins with another letter. A last line of one letter alone counts in any case.
4. **The only option mentioned** as ``(C)`` or ``option C``.
5. **The option's text**: the whole reply, or its last line, is the text of one option.

What a sentence denies is not read: "the incorrect answer is A", "A is wrong", "a common mistake is (A)",
"if the answer is A", "I doubt that the answer is A". A text of which an option has the same ("C. difficile")
is that option, and no letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from evalkit.choice.extractor import Reading
from evalkit.choice.letter_v1 import clean
from evalkit.choice.statements import AFTER, BEFORE, FOREIGN_FALSE, Statement, statements
from evalkit.reading.fold import fold
from evalkit.reading.negation import denied

_LONGEST = 200_000  # characters of a reply that are read, from its end
_LINES = 400  # lines of it that are looked at for letters

_TAGS = re.compile(
    r"<(?P<name>b|i|u|p|em|strong|span|div|mark|center)\b[^<>]{0,200}>(?P<inner>[^<>]*)</(?P=name)>", re.IGNORECASE
)
_BRACKETS = str.maketrans("「」『』《》〈〉", "\"\"\"\"\"\"\"\"")
_STRUCK = re.compile(r"~~[^~\n]{0,500}~~")
_ENCLOSED = re.compile("[\u24b6-\u24e9\U0001f110-\U0001f149\U0001d400-\U0001d6a3]")
_LOOK_ALIKE = str.maketrans("АВСЕНІКМОРТХΑΒΕΗΙΚΜΝΟΡΤΧаеосрх", "ABCEHIKMOPTXABEHIKMNOPTXaeocpx")
_SINGLE = re.compile(r"(?<!\w)[АВСЕНІКМОРТХΑΒΕΗΙΚΜΝΟΡΤΧаеосрх](?!\w)")

_FILL = (
    r"(?:either|both|the|is|be|it|option|choice|answer|letter|number|correct|right|final|most|very|more|likely"
    r"|probably|clearly|definitely|certainly|obviously|therefore|thus|indeed|simply|actually|best|only"
    r"|la|el|le|die|der|letra|lettre|opci[oó]n|选项|選項)"
)
_MARK = r"[\s\"'(\[{<:>#*.•·▪→✅✔✓-]*"
_HEAD = re.compile(
    rf"(?P<lead>{_MARK}(?:{_FILL}\b[\s:,(\"'\[*-]*){{0,6}})(?P<letter>[A-Za-z]){AFTER}(?P<after>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LEAD = re.compile(rf"{_MARK}(?:{_FILL}\b[\s:,(\"'\[*-]*){{0,6}}", re.IGNORECASE)
# A capital letter that begins a sentence's next words, such as "A drug" or "C difficile", is no option.
_ENDS = re.compile(
    r"\s*(?:$|[.,:;)\]}\"'/&+<>|!]|-(?!\w)|\(|\n|[^\x00-\u024f]"
    r"|(?:because|since|as|for|which|or|and|but|not|due|given|with|in|on|by|from|based|is|was|rather|instead"
    r"|over|when|while)\b|[A-Z])"
)
_DELIMITED = re.compile(r"\s*(?:$|[.:)\]}\"',/&+<>|!;]|-(?!\w)|[^\x00-\u024f])")
_SECOND = re.compile(
    r"[)\].\"'\s]*(?:[,/&+;|]|-(?=\s*[(\[]?[A-Z]\b)|\bor\b|\band\b|\by\b|\bet\b|\boder\b|\bund\b|或|和|と|또는)+"
    rf"[\s(\[\"'/]*(?:(?:or|and|option|choice|even|maybe|possibly|perhaps)\s+){{0,2}}[(\[]?(?P<letter>[A-Z]){AFTER}(?P<after>.*)",
    re.DOTALL,
)
_WRONG = re.compile(r"[)\].\"'\s]*(?:is|are|was|were|would\s+be)\s+(?:not|incorrect|wrong|false|ruled|less|un)|[)\]\"']*\s*(?:isn't|can't|cannot)")
_RUN = re.compile(rf"[\s\"'(\[]*(?P<letters>[A-Z]{{2,6}}){AFTER}[\s.)\]\"']*$")
_NONE = re.compile(r"\s*[\"'(\[]*(?:none|null|n/a\b|neither|not\s+(?:listed|given|provided|among|available))\b", re.IGNORECASE)
_NOT = re.compile(r"\s*(?:certainly\s+|clearly\s+|definitely\s+)?(?:not|neither|never)\b", re.IGNORECASE)
_BUT = re.compile(r"[,;]?\s*\b(?:but|rather|instead)\b(?:\s+(?:rather|instead|is|it\s+is|it's))*\s*", re.IGNORECASE)
_THINK = r"(?:think|thought|say|said|choose|chose|pick|select|answer|assume|assumed|believe|guess|go\s+for)"
_DOUBT = re.compile(
    r"\b(?:if|whether|unless|suppose|supposing|assuming|doubt\w*|imagine|pretend|unlikely|improbable|tempt\w+"
    r"|mistakenly|wrongly|incorrectly|initially|originally|at\s+first)\b"
    rf"|(?:\bnot|n't|\bnever)\s+(?:\w+\s+)?(?:mean|sure|convinced|certain|clear|agree|accept|see|{_THINK})\b"
    rf"|\b(?:might|may|could)\b[^,;]{{0,40}}\b{_THINK}\b"
    rf"|\b(?:people|students?|candidates?|some|many|others|they|someone|(?:one|you)\s+(?:can|might|may|could|would))\b"
    rf"[^,;]{{0,40}}\b{_THINK}\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.;!?\n]|,?\s+\b(?:but|so|therefore|thus|hence|however)\b|,")
_DETERMINER = re.compile(r"\b(?:the|an?|my|your|our|this|that|its|which)\b", re.IGNORECASE)

_TRUE = r"(?:correct|right|true|best|the\s+answer|accurate|valid|appropriate|likely)"
_RIGHT = re.compile(
    rf"{BEFORE}(?P<letter>[A-Z])[)\]\"']*\s*(?:(?:is|must\s+be|should\s+be|would\s+be|seems|appears|looks|remains)\s+"
    rf"(?:(?:the|a|most|only|clearly|therefore|indeed|definitely|probably|likely|thus|best|to\s+be)\s+){{0,4}}{_TRUE}(?![\w-])"
    rf"|fits\s+best\b|is\s+the\s+(?:answer|one)\b|[:=(-]+\s*[\"']?(?:correct|right|true)(?![\w-])|[:(-]?\s*[✓✅✔☑]"
    rf"|\s*(?:选项|選項)?\s*(?:是)?\s*(?:正确|正確)|\s*(?:が|は)\s*(?:正解|正しい)|\s*(?:가|이)\s*(?:정답|맞))"
)
_RIGHT_TEXT = re.compile(
    r"\s*\"?\s*(?:is|would\s+be|must\s+be)\s+(?:(?:the|most|clearly|therefore|best)\s+){0,3}"
    r"(?:correct|right|best|answer)(?![\w-])",
    re.IGNORECASE,
)
_LINE_TRUE = re.compile(r"\b(?:correct|right|true|best|yes|fits)\b|[✓✅✔☑]|正确|正解|정답", re.IGNORECASE)
_LINE_FALSE = re.compile(
    r"\b(?:incorrect|wrong|false|no|not|never|unlikely|less|least|eliminated?|excluded?|ruled|out|\w+n't)\b"
    r"|[✗❌✘×✖]|错误|不正确|誤|오답",
    re.IGNORECASE,
)
# The marks of a list in one line: "A. aspirin B. insulin", "Choice A: aspirin, choice B: insulin".
_LISTED = re.compile(rf"(?:^|\s)(?:option|choice)?\s*\(?{BEFORE}(?P<letter>[A-Z])[.:)]\s+(?=\w)", re.IGNORECASE)
_ASIDE = re.compile(r"\b(?:unlike|contrary\s+to|compared\s+(?:to|with)|than|versus|vs\.?)\s+(?:the\s+)?$", re.IGNORECASE)
_MENTIONED = re.compile(r"[(\[](?P<bracket>[A-Z])[)\]]|\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer) (?P<named>[A-Z])(?![\w'-])")


def read(text: str, options: Sequence[str]) -> Reading:
    """Return the option that a reply states."""
    plain = _plain(text[-_LONGEST:])
    options = [_folded(clean(fold(option))) for option in options]
    for rule in (_stated, _called_right, _at_beginning, _mentioned):
        reading = rule(plain, options)
        if reading is not None:
            return reading
    return _by_text(plain, options) or Reading(None, "none")


def _plain(text: str) -> str:
    """Return a reply without reasoning, markup and letters that only look like Latin ones."""
    text = _STRUCK.sub(" ", _TAGS.sub(r"\g<inner>", fold(_without_reasoning(text))))
    if not text.isascii():
        text = _ENCLOSED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        text = _SINGLE.sub(lambda match: match[0].translate(_LOOK_ALIKE), text).translate(_BRACKETS)
    return clean(text).strip()


def _without_reasoning(text: str) -> str:
    ended = re.split(r"</think(?:ing)?>", text, flags=re.IGNORECASE)[-1]
    return re.split(r"<think(?:ing)?>", ended, maxsplit=1, flags=re.IGNORECASE)[0]


# 1. Statements


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
    found = _head(content, options)
    if found is None and statement.whole:
        return _stated(content, options) or Reading(None, f"{statement.kind}: no option")
    if found is None and (no := _NOT.match(content)):
        if (but := _BUT.search(content)) and (found := _head(content[but.end() :], options)):
            return Reading(found[0].choice, statement.kind)
        found = _head(content[no.end() :], options)
        return found[0].choice if found else None
    if found is None:
        alone = re.match(rf"[\s\"'(\[]*[A-WYZ]{AFTER}[)\]\"'.]*\s*(?:$|/)", content)
        decides = statement.kind == "stated" and (_NONE.match(content) or alone)
        return Reading(None, f"{statement.kind}: no option") if decides else None
    reading, start, end = found
    if reading.choice is None:
        return reading if statement.kind != "concluded" else None
    if not statement.whole and _is_denied(plain, statement, statement.start + start, statement.start + end):
        return reading.choice if statement.kind == "stated" else None
    return Reading(reading.choice, statement.kind)


def _is_denied(plain: str, statement: Statement, start: int, end: int) -> bool:
    """Return whether the sentence denies, doubts or asks for what a statement says."""
    if re.match(r"[)\]\"']*\s*\?", plain[end : end + 8]):
        return True
    window = _clause_before(plain, statement.begin)
    stated = plain[statement.begin : statement.start]
    if _DOUBT.search(window + stated) or FOREIGN_FALSE.search(window):
        return True
    heads = list(_DETERMINER.finditer(window))
    phrase = statement.begin - len(window) + (heads[-1].start() if heads else 0)
    return denied(plain[phrase : end + 300], start - phrase, end - phrase)


def _clause_before(plain: str, place: int) -> str:
    """Return the text of the clause in front of a place."""
    window = plain[max(0, place - 200) : place]
    ends = list(_CLAUSE.finditer(window))
    return window[ends[-1].end() :] if ends else window


def _is_listing(plain: str, statement: Statement, options: Sequence[str]) -> bool:
    """Return whether "Answer:" is only the heading of a list of the options."""
    if "\n" not in plain[statement.begin : statement.start]:
        return False
    lines = [line for line in plain[statement.start :].splitlines()[:_LINES] if line.strip()]
    letters = [index for line in lines[:2] if (index := _line_letter(line, options)) is not None]
    return len(set(letters)) == 2


def _head(content: str, options: Sequence[str]) -> tuple[Reading, int, int] | None:
    """Return the option at the beginning of ``content``, a letter or an option's text, and its place."""
    text = _text_at_start(content, options)
    match = _HEAD.match(content)
    index = _letter_index(match, options) if match else None
    if match and index is not None and (text is None or _own_text_follows(match, options)):
        start, end = match.span("letter")
        other = _SECOND.match(match["after"])
        if other and _index(other["letter"], options) not in (None, index) and not _WRONG.match(other["after"]):
            if other["letter"] not in "AI" or _ENDS.match(other["after"]):
                return Reading(None, "ambiguous"), start, end
        return Reading(index, "letter"), start, end
    if text is not None:
        return text
    run = _RUN.match(content)
    if run and len(set(run["letters"])) > 1 and all(_index(one, options) is not None for one in run["letters"]):
        return Reading(None, "ambiguous"), *run.span("letters")
    return None


def _letter_index(match: re.Match[str], options: Sequence[str]) -> int | None:
    """Return the index of the letter that ``_HEAD`` found, None where it is no option's or begins a word."""
    letter, after = match["letter"], match["after"]
    index = _index(letter.upper(), options)
    if index is None or not (_own_text_follows(match, options) or _ends_here(letter, after)):
        return None
    word = re.match(r"\.\s?([a-z]{4,})", after)  # "C. difficile"
    if word and not options[index].startswith(word[1]) and any(word[1] in option for option in options):
        return None if word[1] not in options[index] else index
    return index


def _ends_here(letter: str, after: str) -> bool:
    return (_DELIMITED if letter.islower() else _ENDS).match(after) is not None


def _own_text_follows(match: re.Match[str], options: Sequence[str]) -> bool:
    index = _index(match["letter"].upper(), options)
    own = "" if index is None else options[index]
    return len(own) > 1 and _folded(match["after"].lstrip(" .):]-,\"'")).startswith(own)


def _text_at_start(content: str, options: Sequence[str]) -> tuple[Reading, int, int] | None:
    """Return the option of which ``content`` begins with the text, the longest one, and its place."""
    for lead in (0, _LEAD.match(content).end()):  # type: ignore[union-attr]
        folded = _folded(content[lead:])
        begin = [i for i, option in enumerate(options) if _begins_with(folded, option, options)]
        if begin:
            longest = max(len(options[i]) for i in begin)
            best = [i for i in begin if len(options[i]) == longest]
            rule = Reading(best[0], "text") if len(best) == 1 else Reading(None, "ambiguous")
            return rule, lead, min(len(content), lead + longest)
    return None


def _begins_with(text: str, option: str, options: Sequence[str]) -> bool:
    """Return whether a text begins with an option's; a text that is the letter of an option is that option."""
    if not option or (len(option) == 1 and option.isalpha() and _index(option.upper(), options) is not None):
        return False
    return re.match(re.escape(option) + r"(?!\w)", text) is not None


# 2. Options that are called right


def _called_right(plain: str, options: Sequence[str]) -> Reading | None:
    right = set()
    for match in _RIGHT.finditer(plain):
        index = _index(match["letter"], options)
        doubted = _DOUBT.search(_clause_before(plain, match.start()))
        if index is not None and not doubted and not denied(plain, *match.span("letter")):
            right.add(index)
    if not right and len(plain) < 2000:
        folded = _folded(plain)
        for index, option in enumerate(options):
            place = folded.find(option) if len(option) > 2 or option.isdigit() else -1
            if place == 0 or (place > 0 and folded[place - 1] in " \"'."):
                if _RIGHT_TEXT.match(folded[place + len(option) :]) and not denied(folded, place, place + len(option)):
                    right.add(index)
    if not right:
        return None
    return Reading(right.pop(), "called right") if len(right) == 1 else Reading(None, "ambiguous")


# 3. Lines that begin with a letter


def _at_beginning(plain: str, options: Sequence[str]) -> Reading | None:
    lines = [line for line in plain.splitlines() if line.strip()]
    lines = lines if len(lines) <= _LINES else lines[: _LINES // 2] + lines[-_LINES // 2 :]
    readings = [_line(line, options) for line in lines]
    bare = [line.strip(" .:()[]*#>-\"'") for line in lines]
    if bare and len(bare[-1]) == 1 and all(len(line) > 1 or line == bare[-1] for line in bare):
        readings = readings[-1:]  # a list of the options, then one letter: this letter is the answer
        lines = lines[-1:]
    if lines and len({match["letter"] for match in _LISTED.finditer(_without_own_text(lines[0], options))}) > 1:
        return Reading(None, "ambiguous")
    named = [(reading, line) for reading, line in zip(readings, lines, strict=True) if reading is not None]
    indices = {reading.choice for reading, _ in named}
    if len(indices) > 1:
        return _by_verdicts([(reading.choice, line) for reading, line in named])
    for reading, line in (pair for pair in zip(readings[:1] + readings[-1:], lines[:1] + lines[-1:], strict=True)):
        if reading is None:
            continue
        if reading.choice is not None and _LINE_FALSE.search(_first_sentence(line)) and not _LINE_TRUE.search(_first_sentence(line)):
            rest = _rest_of_line(line, options)
            if denied(line, *_letter_span(line)) or denied(f"X {rest}", 0, 1) or _LINE_FALSE.match(rest):
                return Reading(None, "denied")
        return reading
    return None


def _by_verdicts(lines: Sequence[tuple[int | None, str]]) -> Reading:
    """Return the only option whose line calls it right, where several lines begin with letters."""
    right = {i for i, line in lines if _LINE_TRUE.search(line) and not _LINE_FALSE.search(line)}
    others = {i for i, line in lines if _LINE_FALSE.search(line)}
    only = right - others
    return Reading(only.pop(), "called right") if len(only) == 1 and others else Reading(None, "ambiguous")


def _line(line: str, options: Sequence[str]) -> Reading | None:
    """Return the option whose letter begins a line; ambiguous where another letter follows it at once."""
    found = _head(line, options)
    if found is None or _line_letter(line, options) is None:
        return None
    return found[0]


def _line_letter(line: str, options: Sequence[str]) -> int | None:
    match = _HEAD.match(line)
    if match is None:
        return None
    after, index = match["after"], _letter_index(match, options)
    own = _own_text_follows(match, options)
    if index is None or (match["letter"].islower() and not own and after.strip(" .)]\"'")):
        return None
    because = re.match(r"\s+(?:because|since|as|due|given)\b", after)
    return index if own or because or _DELIMITED.match(after) else None


def _letter_span(line: str) -> tuple[int, int]:
    match = _HEAD.match(line)
    return match.span("letter") if match else (0, 0)


def _first_sentence(line: str) -> str:
    match = _HEAD.match(line)
    return re.split(r"[.!?;]\s", match["after"].lstrip(" .):]-") if match else line, maxsplit=1)[0]


def _without_own_text(line: str, options: Sequence[str]) -> str:
    """Return a line without the option's text that follows the letter at its beginning."""
    match = _HEAD.match(line)
    if match is None or not _own_text_follows(match, options):
        return line
    own = options[ord(match["letter"].upper()) - ord("A")]
    return line[: match.start("after")] + ". " + _folded(match["after"].lstrip(" .):]-,\"'"))[len(own) :]


def _rest_of_line(line: str, options: Sequence[str]) -> str:
    """Return what follows the letter and its option's text at the beginning of a line."""
    match = _HEAD.match(line)
    rest = " ".join(match["after"].lower().split()).lstrip(" .):]-") if match else ""
    index = _index(match["letter"].upper(), options) if match else None
    own = options[index] if index is not None else ""
    return rest.removeprefix(own).lstrip(" .,:;()-")


# 4. The only option mentioned


def _mentioned(plain: str, options: Sequence[str]) -> Reading | None:
    mentioned = set()
    for match in _MENTIONED.finditer(plain):
        group = "bracket" if match["bracket"] else "named"
        index = _index(match[group], options)
        before = _clause_before(plain, match.start())
        aside = _ASIDE.search(before) or _DOUBT.search(before) or plain[match.end() : match.end() + 1] == "?"
        if index is not None and not aside and not denied(plain, *match.span(group)):
            mentioned.add(index)
        if len(mentioned) > 1:
            return Reading(None, "ambiguous")
    return Reading(mentioned.pop(), "mentioned") if mentioned else None


# 5. The option's text


def _by_text(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the option that is the whole reply, its last line, or its first words before a comma or stop."""
    for part in (plain, _last_line(plain)):
        said = _folded(_LEAD.sub("", part, count=1)) or _folded(part)
        same = [i for i, option in enumerate(options) if option and option in (said, _folded(part))]
        if len(same) == 1:
            return Reading(same[0], "text")
    folded = _folded(plain)
    begun = [i for i, o in enumerate(options) if o and re.match(re.escape(o) + r"\s*[,.;:!(]", folded)]
    others = [o for o in options if len(o) > 3 and o in folded]
    if len(begun) == 1 and others in ([], [options[begun[0]]]):
        return Reading(begun[0], "text")
    return None


def _index(letter: str, options: Sequence[str]) -> int | None:
    index = ord(letter) - ord("A")
    return index if 0 <= index < min(len(options), 26) else None


def _last_line(plain: str) -> str:
    return plain.splitlines()[-1] if plain else ""


def _folded(text: str) -> str:
    """Return a text for comparison: lower case, single spaces, no quotes or full stops around it."""
    return " ".join(text.lower().split()).strip(" .\"'")
