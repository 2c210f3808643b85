"""What a reply says of its options: denied or doubted, called right, or the letter that begins a line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from evalkit.choice.at_start import (
    folded,
    index_of,
    letter_and_rest,
    line_letter,
    option_at_start,
    text_alone,
)
from evalkit.choice.extractor import Reading
from evalkit.choice.statements import BEFORE, FOREIGN_FALSE, Statement
from evalkit.reading.negation import denied
from evalkit.reading.patterns import regex

PLACES = 500  # places of a reply that are looked at for what it says of its options
LINES = 400  # lines that are looked at for letters
_SHORT = 2000  # characters: in a longer reply, "insulin is the best …" may be about anything

_THINK = r"(?:think|thought|say|said|choose|chose|pick|select|answer|assume|assumed|believe|guess|go\s+for)"
_DOUBT = regex(
    r"\b(?:if(?!\s+(?:I|we|you)\s+(?:had|have|must|were)\s+to\s+(?:guess|choose|pick|select|answer|say|decide)\b)|whether|unless|suppose|supposing|assuming|doubt\w*|imagine|pretend|unlikely|improbable|tempt\w+"
    r"|mistakenly|wrongly|incorrectly|initially|originally|at\s+first)\b|^\W*(?:were|had)\b|\bnone\s+of\b"
    r"|\b(?:false|wrong|incorrect|mistake|untrue|evidence|not\s+the\s+case)\b[^,;.]{0,20}\b(?:that|to)\b"
    rf"|(?:\bnot|n't|\bnever)\s+(?:\w+\s+)?(?:mean|sure|convinced|certain|clear|agree|accept|see|{_THINK})\b"
    rf"|\b(?:might|may|could)\b[^,;]{{0,40}}\b{_THINK}\b"
    rf"|\b(?:people|students?|candidates?|some|many|others|they|someone|(?:one|you)\s+(?:can|might|may|could|would))\b"
    rf"[^,;]{{0,40}}\b{_THINK}\b",
    re.IGNORECASE,
)
_LESSER = regex(
    r"\b(?:naive|tempting|trap|decoy|second(?:[- ]best)?|runner-up|alternative|other|former|poor|bad|weak"
    r"|weaker|inferior|less(?:\s+\w+)?|least(?:\s+\w+)?)\s+$",
    re.IGNORECASE,
)
_CLAUSE = regex(r"[.;!?\n]|,?\s+\b(?:but|so|therefore|thus|hence|however)\b|,")
_DETERMINER = regex(r"\b(?:the|an?|my|your|our|this|that|its|which)\b", re.IGNORECASE)

_TRUE = r"(?:correct|right|true|best|the\s+answer|accurate|valid|appropriate|likely)"
_RIGHT = regex(
    r"(?:(?<=\bmake )|(?<=\bmakes )|(?<=\bmaking ))"
    rf"{BEFORE}(?P<made>[A-Z])\s+(?:the\s+)?(?:correct|right|best)\b"
    r"|(?m:^)[\s>*-]*[✓✅✔☑]\s*(?:option\s+)?[(\[]?(?P<ticked>[A-Z])(?![\w'])"
    rf"|{BEFORE}(?P<letter>[A-Z])[)\]\"']*(?:\s+(?:alone|clearly|indeed|therefore))?\s*"
    r"(?:(?:is|must\s+be|should\s+be|would\s+be|seems|appears|looks|remains)\s+"
    rf"(?:(?:the|a|most|only|clearly|therefore|indeed|definitely|probably|likely|thus|best|to\s+be)\s+){{0,4}}{_TRUE}(?![\w-])"
    rf"|fits\s+best\b|is\s+the\s+(?:answer|one)\b|[:=(-]+\s*[\"']?(?:correct|right|true)(?![\w-])|[:(-]?[^\S\n]*(?<!\n)[✓✅✔☑]"
    r"|(?:es|ist|est|è|é)\s+(?:(?:la|le|die|der|a|as)\s+)?(?:(?:respuesta|richtige|bonne|resposta|risposta)\s+)?"
    r"(?:correct[aoe]?|corret[ao]|corrett[ao]|richtig\w*|Antwort|réponse|juste|exacte?|certa)\b"
    rf"|\s*(?:选项|選項)?\s*(?:是)?\s*(?:正确|正確)|\s*(?:が|は)\s*(?:正解|正しい)|\s*(?:가|이)\s*(?:정답|맞))"
)
_BUT_WRONG = regex(
    r"[\s,]*(?:only\s+)?(?:if|unless|provided)\b|"
    r"[\s,]*(?:but|yet|though)\s+(?:(?:it|actually|really)\s+)?(?:is\s+|was\s+)?(?:wrong|incorrect|false|not)\b"
)
_RIGHT_TEXT = regex(
    r"\s*\"?\s*(?:is|would\s+be|must\s+be)\s+(?:(?:the|most|clearly|therefore|best)\s+){0,3}"
    r"(?:correct|right|best|answer)(?![\w-])",
    re.IGNORECASE,
)
_LINE_TRUE = regex(r"\b(?:correct|right|true|best|yes|fits)\b|[✓✅✔☑]|正确|正解|정답", re.IGNORECASE)
_LINE_FALSE = regex(
    r"\b(?:incorrect|wrong|false|no|not|never|unlikely|less|least|eliminated?|excluded?|ruled|out|\w+n't)\b"
    r"|[✗❌✘×✖]|错误|不正确|誤|오답",
    re.IGNORECASE,
)
# The marks of a list in one line: "A. aspirin B. insulin", "Choice A: aspirin, choice B: insulin".
_LISTED = regex(rf"(?:^|\s)(?:option|choice)?\s*\(?{BEFORE}(?P<letter>[A-Z])[.:)]\s+(?=\w)", re.IGNORECASE)
_FALSE_AT_ONCE = regex(
    r"(?:incorrect|wrong|false|eliminated?|excluded?|ruled\s+out|unlikely|falsch|fau(?:x|sse)|fals[oa]|errad[oa]|sbagliat[oa])\b|no\b(?!\s+\w)|not\s+(?:correct|right|true|the|an?\s(?!or\b|and\b)\w)"
    r"|[✗❌✘×✖]",
    re.IGNORECASE,
)


# "The answer is A. No, that is wrong."
_TAKEN_BACK = regex(
    r"[)\]\"'.,;\s-]*(?:(?:no|wait|actually|sorry|hmm)\b[,.!\s]*)+"
    r"(?:(?:that|this|it)(?:'s|\s+is|\s+was)\s+)?(?:wrong|incorrect|not\s+(?:right|correct)|a\s+mistake)\b",
    re.IGNORECASE,
)


# "The answer is A. Correction: B."
_CORRECTED = regex(
    r"[)\]\"'.,;\s-]*(?:(?:no(?=\s*[,.!:-])|wait|actually|sorry|hmm|correction|scratch\s+that|or\s+rather|I\s+mean)"
    r"\b[,.!:\s-]*)+(?:it(?:'s|\s+is)\s+)?",
    re.IGNORECASE,
)
_ITS_END = regex(r"[)\]\"'\s]*(?:[.,;!\n]|$)")
# "If the question asked for the wrong one, the answer would be A."
_SUPPOSED = regex(
    r"\b(?:if|were|had)\b[^.;!?\n]{0,100}\b(?:question|stem|asked|asking)\b[^.;!?\n]{0,150}$", re.IGNORECASE
)
_CROSSED = regex(r"[)\]\"'*\s]*[✗❌✘✖]")


def is_denied(plain: str, statement: Statement, start: int, end: int) -> bool:
    """Return whether the sentence denies, doubts or asks for what a statement says."""
    after = plain[end : end + 80]
    if re.match(r"[)\]\"']*\s*\?", after) or _TAKEN_BACK.match(after) or _CROSSED.match(after):
        return True
    begin = statement.begin + (plain[statement.begin] in ".!?;\n")
    window = _clause_before(plain, begin)
    stated = plain[begin : statement.start]
    if "would" in stated and _SUPPOSED.search(plain[max(0, begin - 300) : begin]):
        return True
    if _DOUBT.search(window + stated) or _LESSER.search(window):
        return True
    if statement.kind == "stated" and FOREIGN_FALSE.search(window):
        return True
    heads = list(_DETERMINER.finditer(window))
    phrase = begin - len(window) + (heads[-1].start() if heads else 0)
    return denied(plain[phrase : end + 300], start - phrase, end - phrase)


def corrected(after: str, options: Sequence[str]) -> int | None:
    """Return the option that takes the place of the one in front of ``after``: ``… no, wait, B.``"""
    cue = _CORRECTED.match(after)
    found = option_at_start(after[cue.end() :], options) if cue else None
    return found[0].choice if cue and found and _ITS_END.match(after, cue.end() + found[2]) else None


def doubted(plain: str, start: int, end: int) -> bool:
    """Return whether the clause in front of a place doubts it or reports what others may think."""
    return _DOUBT.search(_clause_before(plain, start) + plain[start:end]) is not None


def _clause_before(plain: str, place: int) -> str:
    """Return the text of the clause in front of a place."""
    window = plain[max(0, place - 200) : place]
    ends = list(_CLAUSE.finditer(window))
    return window[ends[-1].end() :] if ends else window


_ALSO = regex(
    rf"{BEFORE}(?P<letter>[A-Z])[)\]\"']*\s+(?:is|would\s+be)\s+(?:also|equally|just\s+as)\s+(?:correct|right|true|valid)\b"
)


def also_right(plain: str, choice: int, options: Sequence[str]) -> bool:
    """Return whether a reply calls another option right as well, after its answer: ``C is also correct``."""
    places = [match.end() for match in re.finditer(rf"\b{chr(ord('A') + choice)}\b", plain)]
    last = places[-1] if places else len(plain)
    others = ((index_of(match["letter"], options), match.start()) for match in _ALSO.finditer(plain, last))
    return any(index not in (None, choice) and not doubted(plain, start, start) for index, start in others)


def called_right(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the only option that the reply calls right; ambiguous where it calls several so."""
    right = set()
    for match in islice(_RIGHT.finditer(plain), PLACES):
        group = match.lastgroup or "letter"
        start, end = match.span(group)
        index = index_of(match[group], options)
        meant = not doubted(plain, start, start) and not _BUT_WRONG.match(plain[match.end() :][:60])
        if index is not None and meant and not denied(plain, start, end):
            right.add(index)
    if not right and len(plain) < _SHORT:
        text = folded(plain)
        right = {index for index, option in enumerate(options) if _text_is_called_right(text, option)}
    if not right:
        return None
    return Reading(right.pop(), "called right") if len(right) == 1 else Reading(None, "ambiguous")


def _text_is_called_right(text: str, option: str) -> bool:
    place = text.find(option) if len(option) > 2 or option.isdigit() else -1
    if place < 0 or (place > 0 and text[place - 1] not in " \"'."):
        return False
    end = place + len(option)
    return _RIGHT_TEXT.match(text[end:]) is not None and not denied(text, place, end)


def letter_of_line(plain: str, options: Sequence[str]) -> Reading | None:
    """Return the letter that begins the first or the last line, if no line begins with another one."""
    lines = [line for line in plain.splitlines() if line.strip()]
    lines = lines if len(lines) <= LINES else lines[: LINES // 2] + lines[-LINES // 2 :]
    bare = [line.strip(" .:()[]*#>-\"'") for line in lines]
    if bare and len(bare[-1]) == 1 and all(len(line) > 1 or line == bare[-1] for line in bare):
        lines = lines[-1:]  # a list of the options, then one letter: this letter is the answer
    if lines and _LISTED.search(letter_and_rest(lines[0], options)[1]):
        return Reading(None, "ambiguous")
    readings = [(_line(line, options), line) for line in lines]
    named = [(reading.choice, line) for reading, line in readings if reading is not None]
    if len({choice for choice, _ in named}) > 1:
        alone = readings[0][0] is not None and not letter_and_rest(lines[0], options)[1]
        explained = alone and all(_LINE_FALSE.search(line) for _, line in named[1:])
        return readings[0][0] if explained else _by_verdicts(named)
    for reading, line in readings[:1] + readings[-1:]:
        if reading is not None:
            denies = reading.choice is not None and _line_denies(line, options)
            return Reading(None, "denied") if denies else reading
    return None


_A_COLON = regex(r"\W*A\s?:\s*")


def _line(line: str, options: Sequence[str]) -> Reading | None:
    """Return the option whose letter begins a line; ambiguous where another letter follows it at once."""
    found = option_at_start(line, options)
    if (
        found
        and (answer := _A_COLON.match(line))
        and text_alone(line[answer.end() :], options) not in (None, 0)
    ):
        return Reading(None, "ambiguous")  # "A: insulin" may mean "Answer: insulin"
    return None if found is None or line_letter(line, options) is None else found[0]


def _line_denies(line: str, options: Sequence[str]) -> bool:
    """Return whether a line calls the option wrong whose letter begins it: ``A. aspirin: incorrect``."""
    place, rest = letter_and_rest(line, options)
    if _FALSE_AT_ONCE.match(rest) or denied(line, *place):
        return True
    return denied(f"X {rest}", 0, 1)  # the option's text stands between the letter and "is incorrect"


def _by_verdicts(lines: Sequence[tuple[int | None, str]]) -> Reading:
    """Return the only option whose line calls it right, where several lines begin with letters."""
    right = {i for i, line in lines if _LINE_TRUE.search(line) and not _LINE_FALSE.search(line)}
    others = {i for i, line in lines if _LINE_FALSE.search(line)}
    only = right - others
    return Reading(only.pop(), "called right") if len(only) == 1 and others else Reading(None, "ambiguous")
