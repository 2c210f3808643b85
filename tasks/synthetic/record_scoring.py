"""Exact scores of ``patient_record``: the answer on the last line, and what was written to the store."""

from __future__ import annotations

import re

import msgspec

from evalkit import Answer, Metric, Sample, metric
from evalkit.reading.fold import fold

from .fhir import Resource, essentials
from .record_questions import NONE

_ANSWER = re.compile(r"^[\s*_>#]*answer[\s*_]*:[\s*_]*(.*?)[\s*_]*$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*(?:[%A-Za-z/\[\] ]*)\.?")


def read_answer(reply: str) -> str | None:
    """Return what follows ``Answer:`` on the last line that has it; None if no line has."""
    lines = [text for text in _ANSWER.findall(fold(reply)) if text]
    return lines[-1].strip(" `\"'") if lines else None


def same_answer(answer: str, expected: str) -> bool:
    """Return whether two answers are equal: numbers by value, with or without a unit; texts without case."""
    given, wanted = _NUMBER.fullmatch(answer), _NUMBER.fullmatch(expected)
    if given and wanted:
        return float(given[1]) == float(wanted[1])
    return answer.casefold().rstrip(". ") == expected.casefold()


def _same_entries(sample: Sample, answer: Answer) -> bool:
    written: list[Resource] = answer.metadata.get("written", [])
    return _sorted(written) == _sorted(sample.metadata["due"])


def _sorted(entries: list[Resource]) -> list[bytes]:
    return sorted(msgspec.json.encode(essentials(entry), order="sorted") for entry in entries)


def _right(sample: Sample, answer: Answer) -> bool:
    return same_answer(answer.reply, sample.targets[0])


@metric
def success(sample: Sample, answer: Answer) -> float:
    """1 if the answer is right, and exactly what is due was written."""
    return float(_right(sample, answer) and _same_entries(sample, answer))


@metric
def answer_accuracy(sample: Sample, answer: Answer) -> float:
    """1 if the answer is right, whatever was written."""
    return float(_right(sample, answer))


@metric
def entries_accuracy(sample: Sample, answer: Answer) -> float | None:
    """1 if exactly what is due was written; only where something is due."""
    return float(_same_entries(sample, answer)) if sample.metadata["due"] else None


def _undue(sample: Sample, answer: Answer) -> float | None:
    return None if sample.metadata["due"] else float(bool(answer.metadata.get("written")))


def _says_none(sample: Sample, answer: Answer) -> float:
    return float(same_answer(answer.reply, NONE))


def _searches(sample: Sample, answer: Answer) -> float:
    return float(len(answer.metadata.get("conversation", {}).get("tool_calls", ())))


UNDUE = Metric(
    "wrote_undue",
    _undue,
    kind="fact",
    higher_is_better=False,
    help="replies that wrote something where nothing was due",
)
SAYS_NONE = Metric(
    "says_none", _says_none, kind="fact", higher_is_better=None, help="replies with the answer: none"
)
CALLS = Metric(
    "tool_calls", _searches, high=None, kind="fact", higher_is_better=None, help="calls of tools per sample"
)
EXACT = (success, answer_accuracy, entries_accuracy, UNDUE, SAYS_NONE, CALLS)
