"""Questions about pictures: closed answers, recall of the reference's words, counts, mathematical answers.

The rules that read replies are the functions ``read_…``. They never guess: a reply that cannot be read
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
_ANSWER_IS = re.compile(r"\banswer(?: is|:| is:)\s*", re.IGNORECASE)


def read_yes_no(reply: str) -> str | None:
    """Return ``yes``, ``no`` or None, as ``read_label`` finds it (version 1)."""
    return read_label(reply, ("yes", "no"))


def read_label(reply: str, labels: Sequence[str]) -> str | None:
    """Return the one of ``labels`` (single words, lower case) that a reply says, or None (version 1).

    A label with a punctuation mark at the beginning decides ("Yes, there is no fluid"); otherwise exactly one
    of the labels must occur.
    """
    start = _LEAD.sub("", reply, count=1)
    decided = rf"({'|'.join(map(re.escape, labels))})\b\W*(?:$|[\n.,;:!*)–—-])"
    if match := re.match(decided, start, re.IGNORECASE):
        return match[1].lower()
    mentioned = {word for word in re.findall(r"\w+", reply.lower()) if word in labels}
    return mentioned.pop() if len(mentioned) == 1 else None


def read_number(reply: str) -> float | None:
    """Return the number in a reply: the number after "answer is", else the only number (version 1).

    Numbers are digits, or words up to twelve where there are no digits. Returns None where the reply holds
    two different numbers or none.
    """
    *_, last = _ANSWER_IS.split(reply)
    for text in (last, reply):
        numbers = {float(digits.replace(",", "")) for digits in _NUMBER.findall(text)}
        numbers = numbers or {float(_NUMBERS[w]) for w in re.findall(r"\w+", text.lower()) if w in _NUMBERS}
        if len(numbers) == 1:
            return numbers.pop()
    return None


def closed_accuracy() -> Metric:
    """Return ``closed_accuracy``: 1 where a closed question is answered right, otherwise 0.

    A target of yes or no is compared with the result of ``read_yes_no``; any other target ("left", "PA") with
    the whole reply after SQuAD's normalization.
    """
    return Metric("closed_accuracy", _closed, help="1 if a closed question is answered right")


def _closed(sample: Sample, answer: Answer) -> float:
    targets = {normalize(target) for target in sample.targets}
    if targets <= {"yes", "no"}:
        return float(read_yes_no(answer.reply) in targets)
    return float(normalize(_LEAD.sub("", answer.reply, count=1)) in targets)


def token_recall() -> Metric:
    """Return ``token_recall``: the share of the reference's words in the reply, after SQuAD's normalization.

    For open questions. A long reply costs nothing here: read it beside ``exact_match``. The best reference
    counts. ``llava_med_recall`` is the number of LLaVA-Med's program.
    """
    return Metric("token_recall", _token_recall, help="share of the reference's words that the reply holds")


def _token_recall(sample: Sample, answer: Answer) -> float | None:
    reply = Counter(normalize(answer.reply).split())
    references = [Counter(normalize(target).split()) for target in sample.targets if target.strip()]
    return max((reply & words).total() / words.total() for words in references) if references else None


def count_within() -> Metric:
    """Return ``count_within``: 1 where the reply's number equals a target, otherwise 0.

    ``sample.metadata["tolerance"]`` (default 0) is the largest difference that counts as equal.
    Raises ``MetricError`` for a target that is not a number.
    """
    return Metric("count_within", _count_within, help="1 if the number is right within its tolerance")


def _count_within(sample: Sample, answer: Answer) -> float:
    number, tolerance = read_number(answer.reply), sample.metadata.get("tolerance", 0)
    try:
        right = [float(target) for target in sample.targets]
    except ValueError:
        raise MetricError(f"sample {sample.id!r}: the target {sample.target!r} is not a number") from None
    return float(number is not None and any(abs(number - target) <= tolerance for target in right))


_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_MARKS = re.compile(r"\\(?:left|right|displaystyle|[,;! ])|[\s$]|\^\{?\\circ\}?|\\?%|°")
_SENTENCE = re.compile(r"\.(?:\s|$)|\n")


def math_answer() -> Metric:
    """Return ``math_answer``: 1 where the final answer equals a target, otherwise 0.

    The final answer is the content of the last ``\\boxed{}``, else the text after the last "answer is" or
    "Answer:", else a reply of one line. Two answers are equal as text (without white space, ``$``, degrees,
    per cent signs and case), or as numbers rounded to two decimals; a choice may also be the option's text.
    Source: the rule of Wang et al. 2024 (MATH-Vision); agrees with more than 99 % of its stored decisions.
    """
    return Metric("math_answer", _math_answer, help="1 if the final answer equals the target")


def _math_answer(sample: Sample, answer: Answer) -> float:
    final = read_math(answer.reply)
    return float(final is not None and any(math_equal(final, right) for right in _right(sample)))


def _right(sample: Sample) -> list[str]:
    """Return the targets and, where a target is a letter, also the text of its option."""
    letters = [chr(ord("A") + index) for index in sample.answers]
    indices = [ord(target) - ord("A") for target in (*sample.targets, *letters) if len(target) == 1]
    options = [sample.choices[i] for i in indices if 0 <= i < len(sample.choices)]
    # An option whose text is a letter ("A. B") counts by its own letter only.
    return [*sample.targets, *letters, *(o for o in options if not re.fullmatch("[a-e]", _plain(o)))]


def read_math(reply: str) -> str | None:
    """Return the final answer in a reply, or None where nothing marks one (version 1)."""
    if (boxed := _last_box(reply)) is not None:
        return boxed.strip() or None
    *before, last = _ANSWER_IS.split(reply)
    if before:
        return _SENTENCE.split(last.strip(), maxsplit=1)[0].strip(" .:*") or None
    line = reply.strip()
    return line.rstrip(".") or None if "\n" not in line else None


def _last_box(reply: str) -> str | None:
    """Return the content of the last ``\\boxed{…}``, braces balanced; to the reply's end where unclosed."""
    start = reply.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for end in range(begin, len(reply)):
        depth += {"{": 1, "}": -1}.get(reply[end], 0)
        if depth == 0:
            return reply[begin:end]
    return reply[begin:]


def math_equal(a: str, b: str) -> bool:
    """Return whether two answers are equal as text, or as numbers rounded to two decimals."""
    a, b = _plain(a), _plain(b)
    if not a or not b:
        return False
    if a == b:
        return True
    left, right = value_of(a), value_of(b)
    return left is not None and right is not None and round(left, 2) == round(right, 2)


def _plain(text: str) -> str:
    folded = _MARKS.sub("", _TEXT.sub(r"\1", text.lower())).rstrip(".")
    folded = re.sub(r"^[a-z]=", "", folded)
    return re.sub(r"^\(([a-e])\)$", r"\1", folded)
