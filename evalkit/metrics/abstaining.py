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
from evalkit.metrics.citation import without_marks
from evalkit.types import Answer, Sample

ABSTENTION = "The passages do not answer the question."
"""The reply that prompts ask for where the passages do not hold the answer, and the gold baseline gives."""

_NOT = r"(?:do(?:es)?\s+not|don't|doesn't|did\s+not|didn't|cannot|can't|fail(?:s|ed)?\s+to)"
_SOURCES = (
    r"(?:passages?|abstracts?|documents?|context|sources?|excerpts?|texts?|references|literature provided)"
)
_HOLD = (
    r"(?:answer|address|contain|provide|include|mention|report|discuss|cover|hold|give|support an answer"
    r"|bear on|allow|permit|speak to)"
)
_ABSTAINS = re.compile(
    rf"\b{_SOURCES}\b[^.;]{{0,60}}\b{_NOT}\s+(?:\w+\s+){{0,2}}{_HOLD}"
    rf"|\b(?:none|neither) of (?:the|these)\s+(?:\w+\s+){{0,2}}{_SOURCES}"
    rf"|\bno\s+(?:relevant\s+|such\s+|suitable\s+)?{_SOURCES}\b[^.;]{{0,30}}\b{_HOLD}"
    rf"|\b(?:cannot|can't|can not|could not)\s+be\s+(?:answered|determined)\b[^.;]{{0,40}}\b{_SOURCES}"
    rf"|\b(?:cannot|can't|unable to)\s+(?:answer|determine)\b"
    rf"|\bno (?:such|relevant) (?:trials?|stud(?:y|ies))\b|\bi (?:do not|don't) know\b",
    re.IGNORECASE,
)


def abstains(text: str) -> bool:
    """Return whether the first sentence of a reply says that the passages do not hold the answer.

    The rule is a fixed list of phrases about the *passages* (``the passages do not address``, ``cannot be
    answered from these abstracts``, ``no such trial``, ``I do not know``). "The evidence is insufficient" is
    a finding in medicine and does not count as an abstention.
    """
    sentences = split_sentences(without_marks(text))
    first = " ".join(sentences[0].split())[:400] if sentences else ""
    return _ABSTAINS.search(first) is not None and not first.lower().startswith("if ")  # the prompt repeated


def abstention() -> Metric:
    """Return ``abstention``: 1 if the reply abstains. Applies only where no passage shown holds the answer.

    A run's value is the share of right abstentions (negative rejection in RGB, Chen et al. 2024). A model
    that always abstains has the best value here, and the worst quality on every question that has an answer:
    read it beside ``abstained``.
    """
    return Metric("abstention", _abstention, help="whether the reply abstains where the evidence is missing")


def abstained() -> Metric:
    """Return ``abstained``: the share of replies that abstain, in any arm; descriptive.

    Where the evidence was shown, each of these is a false abstention, which the quality metrics punish.
    """
    return Metric(
        "abstained", _abstained, higher_is_better=None, kind="fact", help="share of replies that abstain"
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
