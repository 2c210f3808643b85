"""Read the number of trials, the direction of evidence and conflict from a summary, by rules.

The rules are a fixed lexicon with negation, explained in docs/fictional-trials.md. Text that they cannot read
states nothing. Every pattern takes linear time, since the text may be hostile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalkit.data.sentences import split_sentences
from evalkit.reading.fold import fold
from evalkit.reading.numbers import numbers_in, spelt

from .effects import Direction

NUMERALS = "zero one two three four five six seven eight nine ten eleven twelve"
COUNTS = tuple(NUMERALS.split())
_FOLLOWING = re.compile(r"(?:[\s,-]+[a-z]+){1,5}")
_NO_COUNT = {"of", "in", "from", "participants", "patients", "arms", *COUNTS}  # "2 patients in trials"
_STUDIES = re.compile(r"trials?|study|studies|rcts?")


def trial_counts(text: str) -> set[int]:
    """Return the numbers of trials that a text states: ``three randomised trials``, ``3 RCTs``."""
    counts = set()
    text = spelt(text.lower())
    for number in numbers_in(text):
        following = _FOLLOWING.match(text, number.end)
        for word in re.findall("[a-z]+", following[0] if following else ""):
            if _STUDIES.fullmatch(word) and number.value is not None and number.value % 1 == 0:
                counts.add(int(number.value))
            if word in _NO_COUNT or _STUDIES.fullmatch(word):
                break
    return counts


_T, _C = "\ue000", "\ue001"  # marks for the treatment and its control
_ASKED = re.compile(r"\b(?:whether|which (?:side|arm|treatment|drug))\b.*")  # an indirect question
_CLAUSE = re.compile(r"[,;:]|\b(?:but|however|although|though|whereas|while|yet|and)\b")
_COMPARISON = re.compile(
    r"\b(?:compared|relative|comparison|opposed)\s(?:with|to)\s(?:the\s)?[XY]"
    r"|\bthan(?:\s\w+){0,4}\s[XY]"
    r"|\b(?:versus|vs|over|against|to)\s(?:the\s)?[XY]".replace("[XY]", f"[{_T}{_C}]")
)
_FAVOURS = re.compile(rf"\bfavou?r\w*(?:\sof)?(?:\sthe)?\s([{_T}{_C}])")
_NEGATION = re.compile(
    r"\b(?:no|not|neither|nor|none|never|without|cannot|fail(?:s|ed)?|lack\w*|unlikely)\b|n't\b"
)
_EFFECTS = {
    "same": r"uncertain\w*|unclear|similar\w*|comparable|equivalent|inconclusive|ineffective"
    r"|non-?significant\w*|favou?r\w* (?:neither|none)",
    "down": r"reduc\w+|lower(?:s|ed|ing)?|decreas\w+|fewer|less (?:often|frequent|common|likely)|diminish\w*"
    r"|prevent\w*",
    "up": r"increas\w+|rais(?:e|es|ed|ing)|higher|more (?:often|frequent|common|likely)|greater|elevat\w+",
    "good": r"favou?r\w*|benefi\w+|improv\w+|superior\w*|better|effective\w*|efficac\w+|protect\w*"
    r"|outperform\w*|helps?",
    "bad": r"harm(?:s|ed|ful)?|wors\w+|inferior\w*|detriment\w*",
    "named": r"differ\w*|effects?|evidence|change[sd]?|significant\w*|association",
}
_EFFECT = re.compile("|".join(rf"(?P<{kind}>\b(?:{words})\b)" for kind, words in _EFFECTS.items()))
_CONFLICT = re.compile(
    r"(?P<yes>\b(?:conflict\w*|contradict\w*|inconsisten\w+|disagree\w*|discordant|mixed)\b)"
    r"|(?P<no>\b(?:consisten\w+|agree\w*|concordant|concur\w*)\b)"
)
_OVERALL = re.compile(
    r"\b(?:pooled|pooling|overall|together|combined|summary|conclusions?|evidence|meta-analysis)\b"
)
_SAFETY = re.compile(r"\b(?:adverse|safety|side effects?|tolera\w+)\b")


def conflict(text: str) -> bool | None:
    """Return whether the text says that the trials conflict; None where it says nothing, or both."""
    statements = set()
    for sentence in _statements(fold(text).lower()):
        for clause in _clauses(sentence):
            for match in _CONFLICT.finditer(clause):
                statements.add((match.lastgroup == "yes") != _negated(clause, match.start()))
    return statements.pop() if len(statements) == 1 else None


def direction(text: str, treatment: str, control: str, desirable: bool) -> Direction | None:
    """Return the direction of evidence that the text states; None where it states none or several.

    A text that says that the trials conflict states ``conflicting``. Otherwise sentences about all the
    evidence (pooled, overall, together …) decide first, then all sentences, without those on safety.
    """
    if conflict(text):
        return "conflicting"
    sentences = [s for s in _statements(_anonymous(text, treatment, control)) if not _SAFETY.search(s)]
    for group in ([s for s in sentences if _OVERALL.search(s)], sentences):
        labels = {label for sentence in group for label in _labels(sentence, desirable)}
        if labels:
            return labels.pop() if len(labels) == 1 else None
    return None


def _statements(text: str) -> list[str]:
    """Return the sentences that are not questions: a repeated question is no answer."""
    return [sentence for sentence in split_sentences(text) if not sentence.endswith("?")]


def _clauses(sentence: str) -> list[str]:
    """Return the clauses of a sentence, without indirect questions."""
    return [_ASKED.sub("", clause) for clause in _CLAUSE.split(sentence)]


def _anonymous(text: str, treatment: str, control: str) -> str:
    """Return the text in lower case, without brackets, with marks for the treatment and its control."""
    text = re.sub(r"\([^()]*\)|\[[^\[\]]*\]", " ", fold(text)).lower()
    text = re.sub(rf"\b(?:{re.escape(treatment.lower())}|intervention)\b", _T, text)
    return re.sub(rf"\b(?:{re.escape(control.lower())}|the control|comparator)\b", _C, text)


def _labels(sentence: str, desirable: bool) -> Iterator[Direction]:
    plain = re.sub(r"\b(?:lower|upper|higher) (?:bound|limit|end)\w*", "", sentence)
    for clause in _clauses(" ".join(plain.split())):
        for match in _EFFECT.finditer(clause := _COMPARISON.sub("", clause)):
            kind = match.lastgroup
            negated = _negated(clause, match.start())
            if kind == "same" or negated:
                yield "no clear difference"
            elif kind != "named":
                good = kind == "good" or (kind in ("up", "down") and (kind == "up") == desirable)
                favoured = _FAVOURS.match(clause, match.start())
                of_control = favoured[1] == _C if favoured else _C in clause and _T not in clause
                yield "favours control" if good == of_control else "favours treatment"


def _negated(clause: str, at: int) -> bool:
    """Return whether one of the five words before ``at`` is a negation; ``not only`` is none."""
    before = " ".join(clause[max(0, at - 80) : at].split()[-5:]).replace("not only", "")
    return _NEGATION.search(before) is not None
