"""Questions about pictures: closed answers, recall of the reference's words, counts, mathematical answers.

Each reads the reply by a rule of its own, given in ``read_…``, which never guesses: what cannot be read
scores 0.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from evalkit.errors import MetricError
from evalkit.metric import Metric
from evalkit.metrics.latex import value_of
from evalkit.metrics.text import normalize
from evalkit.types import Answer, Sample

_NUMBERS = {
    "no": 0,
    "none": 0,
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "eleven": 11,
    "twelve": 12,
}
_LEAD = re.compile(r"^\W*(?:(?:the |final )*answer(?: is)?\b\W*)?", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")
_SAID = re.compile(r"\banswer(?: is|:| is:)\s*", re.IGNORECASE)


def read_yes_no(reply: str) -> str | None:
    """``yes`` or ``no`` as ``read_label`` finds it (version 1)."""
    return read_label(reply, ("yes", "no"))


def read_label(reply: str, labels: Sequence[str]) -> str | None:
    """The one of ``labels`` (single words, lower case) that a reply says, or None (version 1).

    A reply that begins with the word and a mark behind it has decided ("Yes, there is no fluid"); elsewhere
    just one of the words may occur.
    """
    start = _LEAD.sub("", reply, count=1)
    decided = rf"({'|'.join(map(re.escape, labels))})\b\W*(?:$|[\n.,;:!*)–—-])"
    if match := re.match(decided, start, re.IGNORECASE):
        return match[1].lower()
    said = {word for word in re.findall(r"\w+", reply.lower()) if word in labels}
    return said.pop() if len(said) == 1 else None


def read_number(reply: str) -> float | None:
    """The number in a reply: the one behind "answer is", else the only one there is (version 1).

    Digits, or words up to twelve where there are no digits. None where two different numbers are said.
    """
    *_, last = _SAID.split(reply)
    for text in (last, reply):
        found = {float(digits.replace(",", "")) for digits in _NUMBER.findall(text)}
        found = found or {float(_NUMBERS[w]) for w in re.findall(r"\w+", text.lower()) if w in _NUMBERS}
        if len(found) == 1:
            return found.pop()
    return None


def closed_accuracy() -> Metric:
    """1 where a closed question is answered right, otherwise 0.

    A target of yes or no is compared with what ``read_yes_no`` finds; any other ("left", "PA") with the
    whole reply after SQuAD's normalization.
    """
    return Metric("closed_accuracy", _closed, help="1 if a closed question is answered right")


def _closed(sample: Sample, answer: Answer) -> float:
    targets = {normalize(target) for target in sample.targets}
    if targets <= {"yes", "no"}:
        return float(read_yes_no(answer.reply) in targets)
    return float(normalize(_LEAD.sub("", answer.reply, count=1)) in targets)


def token_recall() -> Metric:
    """The share of the reference's words that the reply holds, after SQuAD's normalization.

    The usual measure of open questions in medical VQA. It does not mind a long reply: read it beside
    ``exact_match``. The best reference counts. Source: Li et al. 2023, LLaVA-Med.
    """
    return Metric("token_recall", _token_recall, help="share of the reference's words that the reply holds")


def _token_recall(sample: Sample, answer: Answer) -> float | None:
    reply = Counter(normalize(answer.reply).split())
    wanted = [Counter(normalize(target).split()) for target in sample.targets if target.strip()]
    return max((reply & words).total() / words.total() for words in wanted) if wanted else None


def count_within() -> Metric:
    """1 where the reply's number is the target's, within ``sample.metadata["tolerance"]`` (default 0).

    Raises ``MetricError`` for a target that is no number.
    """
    return Metric("count_within", _count_within, help="1 if the number is right within its tolerance")


def _count_within(sample: Sample, answer: Answer) -> float:
    said, reach = read_number(answer.reply), sample.metadata.get("tolerance", 0)
    try:
        right = [float(target) for target in sample.targets]
    except ValueError:
        raise MetricError(f"sample {sample.id!r}: the target {sample.target!r} is no number") from None
    return float(said is not None and any(abs(said - number) <= reach for number in right))


_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_MARKS = re.compile(r"\\(?:left|right|displaystyle|[,;! ])|[\s$]|\^\{?\\circ\}?|\\?%|°")
_SENTENCE = re.compile(r"\.(?:\s|$)|\n")


def math_answer() -> Metric:
    """1 where the final answer of a problem equals the target: an expression, or a choice by letter or text.

    The answer is what stands in the last ``\\boxed{}``, else behind the last "answer is" or "Answer:", else a
    reply of one line. Two answers are equal as text (without white space, ``$``, degrees, per cent signs and
    case), or as numbers rounded to two decimals; a choice also by the text of its option.
    Source: the rule of Wang et al. 2024 (MATH-Vision); agrees with more than 99 % of its stored decisions.
    """
    return Metric("math_answer", _math_answer, help="1 if the final answer equals the target")


def _math_answer(sample: Sample, answer: Answer) -> float:
    said = read_math(answer.reply)
    return float(said is not None and any(math_equal(said, right) for right in _right(sample)))


def _right(sample: Sample) -> list[str]:
    """The targets; of a letter also the option that it stands for."""
    places = [ord(target) - ord("A") for target in sample.targets if len(target) == 1]
    options = [sample.choices[i] for i in places if 0 <= i < len(sample.choices)]
    # An option whose text is a letter ("A. B") counts by its own letter only.
    return [*sample.targets, *(o for o in options if not re.fullmatch("[a-e]", _plain(o)))]


def read_math(reply: str) -> str | None:
    """The final answer in a reply, or None where nothing marks one (version 1)."""
    if (boxed := _last_box(reply)) is not None:
        return boxed.strip() or None
    *before, last = _SAID.split(reply)
    if before:
        return _SENTENCE.split(last.strip(), maxsplit=1)[0].strip(" .:*") or None
    line = reply.strip()
    return line.rstrip(".") or None if "\n" not in line else None


def _last_box(reply: str) -> str | None:
    """What stands in the last ``\\boxed{…}``, braces balanced; an unclosed one reaches to the end."""
    start = reply.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for place in range(begin, len(reply)):
        depth += {"{": 1, "}": -1}.get(reply[place], 0)
        if depth == 0:
            return reply[begin:place]
    return reply[begin:]


def math_equal(a: str, b: str) -> bool:
    """Whether two answers are the same: as text, or as numbers rounded to two decimals."""
    one, other = _plain(a), _plain(b)
    if not one or not other:
        return False
    if one == other:
        return True
    left, right = value_of(one), value_of(other)
    return left is not None and right is not None and round(left, 2) == round(right, 2)


def _plain(text: str) -> str:
    folded = _MARKS.sub("", _TEXT.sub(r"\1", text.lower())).rstrip(".")
    folded = re.sub(r"^[a-z]=", "", folded)
    return re.sub(r"^\(([a-e])\)$", r"\1", folded)
