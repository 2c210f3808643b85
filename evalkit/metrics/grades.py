"""Readability of a reply: the grade formulas of lay summarization, as textstat computes them.

A reply that the formulas cannot read gets the hardest grade: one without a word, or one in another script
than the Latin one. The formulas give 0 there, which would make it the easiest text of all. Grades are limited
to 0 to 30: beyond this range the formulas measure a missing full stop or a text of two words, not difficulty.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

from evalkit.data.words import latin_share
from evalkit.extras import load
from evalkit.metric import Metric, check_option
from evalkit.reading.marks import without_marks
from evalkit.types import Answer, Sample

Formula = Literal["fkgl", "dcrs", "cli"]


HARDEST = 30.0
_LATIN = 0.75  # the least share of Latin letters: "TNF-α and IL-1β" are read, Chinese with some names is not
_FORMULAS = {  # textstat's function and the formula's title
    "fkgl": ("flesch_kincaid_grade", "Flesch-Kincaid grade level"),
    "dcrs": ("dale_chall_readability_score", "Dale-Chall readability score"),
    "cli": ("coleman_liau_index", "Coleman-Liau index"),
}


def readability(formula: Formula = "fkgl") -> Metric:
    """Return ``fkgl``, ``dcrs`` or ``cli``: about the US school grade that can read the reply.

    A reply of which more than a quarter of the letters are not Latin gets 30, the worst: the formulas count
    English words and syllables. Citation marks do not count where the prompt held passages. Needs
    textstat (extra ``metrics``). Raises ``UsageError`` for another formula. Sources: Kincaid et al. 1975;
    Dale and Chall 1948; Coleman and Liau 1975; BioLaySumm's relevance, readability and factuality measures
    (Goldsack et al. 2024).
    """
    check_option("readability", formula, get_args(Formula))
    function, title = _FORMULAS[formula]
    return Metric(
        formula,
        partial(_grade, function),
        high=HARDEST,
        higher_is_better=False,
        unit="grade",
        help=title,
        check_requirements=_textstat,
        version=2,  # 2: other scripts get the worst value; before, nearly the best one
    )


def _grade(function: str, sample: Sample, answer: Answer) -> float:
    text = answer.reply if answer.passages is None else without_marks(answer.reply)
    if latin_share(text) < _LATIN:
        return HARDEST
    return min(max(float(getattr(_textstat(), function)(text)), 0.0), HARDEST)


def _textstat() -> Any:
    return load("textstat", "readability")
