"""Clinical notes: their divisions, found by headings, and metrics of one division.

The four divisions are those of ACI-BENCH (Yim et al. 2023). A heading is a line without a lower-case letter
(``PHYSICAL EXAM``); a heading with words of a division begins that division.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import msgspec

from evalkit import Answer, Metric, Sample
from evalkit.metric import Function

Division = Literal["subjective", "objective_exam", "objective_results", "assessment_and_plan"]
DIVISIONS: tuple[Division, ...] = get_args(Division)

_HEADING = re.compile(r"\s*(?:[#*]+\s*)?[A-Z][^a-z0-9\n]{1,60}$")
_WORDS: tuple[tuple[Division, re.Pattern[str]], ...] = (
    ("subjective", re.compile(r"COMPLAINT|HISTORY|\b(?:CC|HPI|ROS)\b|SYSTEMS|MEDICATION|ALLERG|SUBJECTIVE")),
    ("assessment_and_plan", re.compile(r"ASSESSMENT|\bPLAN\b|IMPRESSION|INSTRUCTIONS")),
    ("objective_exam", re.compile(r"EXAM|VITAL")),
    ("objective_results", re.compile(r"RESULT|\bLABS?\b|LABORATORY|IMAGING")),
)


def divided(note: str) -> dict[Division, str]:
    """Return the text of each division of a note, with headings. Text before any heading is subjective."""
    divisions: dict[Division, list[str]] = {}
    current: Division = "subjective"
    for line in note.splitlines():
        if _HEADING.match(line):
            current = next((name for name, words in _WORDS if words.search(line)), current)
        divisions.setdefault(current, []).append(line)
    texts = {name: "\n".join(lines).strip() for name, lines in divisions.items()}
    return {name: text for name, text in texts.items() if text}


def within(metric: Metric, division: Division) -> Metric:
    """Return the metric on one division of reply and reference; None where the reference lacks it."""
    parameter = f"division={division}"
    name = f"{metric.name[:-1]},{parameter}]" if metric.name.endswith("]") else f"{metric.name}[{parameter}]"
    return replace(metric, name=name, fn=partial(_within, metric.fn, division))


def _within(fn: Function, division: Division, sample: Sample, answer: Answer) -> float | None:
    reference = divided(sample.targets[0]).get(division)
    if reference is None:
        return None
    reply = divided(answer.reply).get(division, "")
    change = msgspec.structs.replace
    return fn(change(sample, target=reference), change(answer, text=reply))
