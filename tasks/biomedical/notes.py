"""Clinical notes: their divisions, read by headings, and ROUGE within one division.

The four divisions are those of ACI-BENCH (Yim et al. 2023). A heading is a line without a lower-case letter
(``PHYSICAL EXAM``); its words say which division it begins, or that it begins none.
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
_SAYS: tuple[tuple[Division, re.Pattern[str]], ...] = (
    ("subjective", re.compile(r"COMPLAINT|HISTORY|\b(?:CC|HPI|ROS)\b|SYSTEMS|MEDICATION|ALLERG|SUBJECTIVE")),
    ("assessment_and_plan", re.compile(r"ASSESSMENT|\bPLAN\b|IMPRESSION|INSTRUCTIONS")),
    ("objective_exam", re.compile(r"EXAM|VITAL")),
    ("objective_results", re.compile(r"RESULT|\bLABS?\b|LABORATORY|IMAGING")),
)


def divided(note: str) -> dict[Division, str]:
    """The text of each division that the note has, with its headings. What comes first is subjective."""
    found: dict[Division, list[str]] = {}
    current: Division = "subjective"
    for line in note.splitlines():
        if _HEADING.match(line):
            current = next((name for name, words in _SAYS if words.search(line)), current)
        found.setdefault(current, []).append(line)
    texts = {name: "\n".join(lines).strip() for name, lines in found.items()}
    return {name: text for name, text in texts.items() if text}


def within(m: Metric, division: Division) -> Metric:
    """The same metric on one division of reply and reference. Does not apply where the reference has none."""
    told = f"division={division}"
    name = f"{m.name[:-1]},{told}]" if m.name.endswith("]") else f"{m.name}[{told}]"
    return replace(m, name=name, fn=partial(_within, m.fn, division))


def _within(fn: Function, division: Division, sample: Sample, answer: Answer) -> float | None:
    wanted = divided(sample.targets[0]).get(division)
    if wanted is None:
        return None
    said = divided(answer.reply).get(division, "")
    change = msgspec.structs.replace
    return fn(change(sample, target=wanted), change(answer, text=said))
