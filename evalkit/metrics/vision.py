"""Questions about pictures: closed answers, recall of the reference's words, counts, mathematical answers.

The rules that read replies (``evalkit.reading.answers``, ``read_math``) never guess: a reply that cannot be
read scores 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from decimal import Decimal

from evalkit.errors import MetricError
from evalkit.metric import Metric
from evalkit.metrics.latex import value_of
from evalkit.metrics.text import normalize
from evalkit.reading.answers import ANSWER_IS, LEAD, read_number, read_yes_no
from evalkit.reading.answers import read_label as read_label
from evalkit.reading.fold import fold
from evalkit.reading.markup import plain, tagged
from evalkit.reading.negation import denied
from evalkit.reading.numbers import only_number, quantity
from evalkit.reading.patterns import regex
from evalkit.types import Answer, Sample


def closed_accuracy() -> Metric:
    """Return ``closed_accuracy``: 1 where a closed question is answered right, otherwise 0.

    A target of yes or no is compared with the result of ``read_yes_no``; any other target ("left", "PA") with
    the whole reply after SQuAD's normalization, both folded and without markup.
    """
    return Metric("closed_accuracy", _closed, help="1 if a closed question is answered right", version=2)


def _closed(sample: Sample, answer: Answer) -> float:
    targets = {normalize(plain(target)) for target in sample.targets}
    if targets <= {"yes", "no"}:
        return float(read_yes_no(answer.reply, sample.input) in targets)
    return float(normalize(LEAD.sub("", plain(answer.reply), count=1)) in targets)


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
    return Metric(
        "count_within", _count_within, help="1 if the number is right within its tolerance", version=2
    )


def _count_within(sample: Sample, answer: Answer) -> float:
    number = read_number(answer.reply, sample.input)
    tolerance = Decimal(str(sample.metadata.get("tolerance", 0)))
    right = [only_number(target) for target in sample.targets]
    if None in right:
        raise MetricError(f"sample {sample.id!r}: the target {sample.target!r} is not a number")
    return float(number is not None and any(t is not None and abs(number - t) <= tolerance for t in right))


_TEXT = regex(r"\\(?:text|mbox|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_MARKS = regex(r"\\(?:left|right|displaystyle|[,;! ()\[\]])|[\s$]|\^\{?\\circ\}?|\\?%|°")
_STATEMENTS = 50  # "answer is …": the last ones of a reply are looked at
_SENTENCE = regex(r"\.(?:\s|$)|\n")


def math_answer() -> Metric:
    """Return ``math_answer``: 1 where the final answer equals a target, otherwise 0.

    The final answer is the content of the last ``\\boxed{}``, else the text after the last "answer is" or
    "Answer:", else a reply of one line. Two answers are equal as text (without white space, ``$``, degrees,
    per cent signs and case), or as numbers rounded to two decimals; a choice may also be the option's text. A
    statement that is denied ("the incorrect answer is 5") does not count.
    Source: the rule of Wang et al. 2024 (MATH-Vision); agrees with more than 99 % of its stored decisions.
    """
    return Metric("math_answer", _math_answer, help="1 if the final answer equals the target", version=2)


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
    """Return the final answer in a reply, or None where nothing marks one (version 2)."""
    text = tagged(fold(reply)).strip()
    if (boxed := _last_box(text)) is not None:
        return boxed.strip() or None
    stated = [match.end() for match in ANSWER_IS.finditer(text)][-_STATEMENTS:]
    for start in reversed(stated):
        if not denied(text, start, start + 1):
            return _SENTENCE.split(text[start:].strip(), maxsplit=1)[0].strip(" .:*") or None
    return text.rstrip(".") or None if "\n" not in text and not stated else None


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
    """Return whether two answers are equal as text, or as numbers rounded to two decimals.

    Numbers that round to 0 are equal within half a per cent: 0.0000042 is not 0.
    """
    plain_a, plain_b = _plain(a), _plain(b)
    if not plain_a or not plain_b:
        return False
    if plain_a == plain_b:
        return True
    left, right = _number(a), _number(b)
    if left is None or right is None:
        return False
    if min(abs(left), abs(right)) < 0.005:
        return math.isclose(left, right, rel_tol=0.005)
    return round(left, 2) == round(right, 2)


def _number(text: str) -> float | None:
    """Return the value of an expression, or of a number with its unit (``1,500 mL``)."""
    value = value_of(_plain(text))
    number = quantity(_TEXT.sub(r" \1", text).replace("$", "")) if value is None else None
    return value if number is None else float(number)


def _plain(text: str) -> str:
    folded = _MARKS.sub("", _TEXT.sub(r"\1", fold(text).lower())).strip("*").rstrip(".")
    folded = re.sub(r"^[a-z]=", "", folded)
    return re.sub(r"^\(([a-e])\)$", r"\1", folded)
