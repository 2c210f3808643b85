"""Abstention: a reply should say that the passages do not hold the answer exactly where they do not hold it.

A task tells the metrics by ``Answer.metadata["answerable"]`` (``evalkit.facts.Shown``), or for a question
that nothing in the pool answers by ``Sample.metadata["answerable"]``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from evalkit.data.sentences import split_sentences
from evalkit.facts import Shown, read
from evalkit.metric import Function, Metric
from evalkit.reading.abstention import abstains as says_no_answer
from evalkit.reading.markup import plain
from evalkit.reading.patterns import regex
from evalkit.types import Answer, Sample

ABSTENTION = "The passages do not answer the question."
"""The reply that prompts ask for where the passages do not hold the answer, and the gold baseline gives."""

_READ = 1000  # characters of the reply in which its first sentence is looked for
_BEFORE_THE_FIRST = regex(
    r".*\?|(?:i am |i'm )?(?:so |very )?sorry\W*|i apologi[sz]e\W*|unfortunately\W*", re.I
)


def abstains(text: str) -> bool:
    """Return whether the first sentence of a reply says that the passages do not hold the answer.

    ``evalkit.reading.abstention`` has the rule: phrases about the *passages* or the question (``the passages
    do not address``, ``cannot be answered from these abstracts``, ``I do not know``). "The evidence is
    insufficient" is a finding in medicine and does not count. A question or an apology ("I'm sorry.") at the
    beginning is not the first sentence.
    """
    sentences = [s for s in split_sentences(plain(text)[:_READ]) if not _BEFORE_THE_FIRST.fullmatch(s)]
    return bool(sentences) and says_no_answer(sentences[0])


def abstention() -> Metric:
    """Return ``abstention``: 1 if the reply abstains. Applies only where no passage shown holds the answer.

    A run's value is the share of right abstentions (negative rejection in RGB, Chen et al. 2024). A model
    that always abstains has the best value here, and the worst quality on every question that has an answer:
    read it beside ``abstained``.
    """
    return Metric(
        "abstention", _abstention, help="whether the reply abstains where the evidence is missing", version=2
    )


def abstained() -> Metric:
    """Return ``abstained``: the share of replies that abstain, in any arm; descriptive.

    Where the evidence was shown, each of these is a false abstention, which the quality metrics punish.
    """
    return Metric(
        "abstained",
        _abstained,
        higher_is_better=None,
        kind="fact",
        help="share of replies that abstain",
        version=2,
    )


def where_answerable(*metrics: Metric) -> tuple[Metric, ...]:
    """Return the same metrics, which do not apply where the right reply is to abstain."""
    return tuple(replace(m, fn=partial(_where_answerable, m.fn)) for m in metrics)


def answerable(sample: Sample, answer: Answer) -> bool | None:
    """Whether the right reply is an answer; None where it is not said."""
    said = read(answer, Shown).answerable
    said = sample.metadata.get("answerable") if said is None else said
    return said if isinstance(said, bool) else None


def _abstention(sample: Sample, answer: Answer) -> float | None:
    return float(abstains(answer.reply)) if answerable(sample, answer) is False else None


def _abstained(sample: Sample, answer: Answer) -> float:
    return float(abstains(answer.reply))


def _where_answerable(fn: Function, sample: Sample, answer: Answer) -> float | None:
    return None if answerable(sample, answer) is False else fn(sample, answer)
