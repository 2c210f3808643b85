"""How hard a reply is to read: the grade formulas of lay summarization, as textstat computes them.

A reply without a word gets the hardest grade, not the 0 that the formulas give, which would make silence the
easiest text of all. Grades are cut to 0 and 30: beyond them the formulas measure a missing full stop or a
text of two words, not difficulty.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

from evalkit.errors import UsageError, did_you_mean
from evalkit.extras import load
from evalkit.metric import Metric
from evalkit.metrics.citation import without_marks
from evalkit.types import Answer, Sample

Formula = Literal["fkgl", "dcrs", "cli"]


HARDEST = 30.0
_FORMULAS = {  # textstat's function, and what it is called in print
    "fkgl": ("flesch_kincaid_grade", "Flesch-Kincaid grade level"),
    "dcrs": ("dale_chall_readability_score", "Dale-Chall readability score"),
    "cli": ("coleman_liau_index", "Coleman-Liau index"),
}


def readability(formula: Formula = "fkgl") -> Metric:
    """``fkgl``, ``dcrs`` or ``cli``: about the US school grade that can read the reply. Lower is easier.

    Citation marks do not count where the prompt held passages. Needs textstat (extra ``metrics``).
    Raises ``UsageError`` for another formula. Sources: Kincaid et al. 1975; Dale and Chall 1948; Coleman and
    Liau 1975; BioLaySumm's relevance, readability and factuality measures (Goldsack et al. 2024).
    """
    if formula not in _FORMULAS:
        known = get_args(Formula)
        raise UsageError(
            f"readability: {formula!r} is none of {', '.join(known)}.{did_you_mean(formula, known)}"
        )
    function, title = _FORMULAS[formula]
    return Metric(
        formula,
        partial(_grade, function),
        high=HARDEST,
        higher_is_better=False,
        unit="grade",
        help=title,
        check_requirements=_textstat,
    )


def _grade(function: str, sample: Sample, answer: Answer) -> float:
    text = answer.reply if answer.passages is None else without_marks(answer.reply)
    if not any(character.isalpha() for character in text):
        return HARDEST
    return min(max(float(getattr(_textstat(), function)(text)), 0.0), HARDEST)


def _textstat() -> Any:
    return load("textstat", "readability")
