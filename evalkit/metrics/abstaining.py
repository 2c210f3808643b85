"""Abstaining: saying that the passages do not hold the answer, where they do not, and only there.

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
"""What a task's prompt asks for where the passages do not answer, and what the gold baseline then says."""

_NOT = r"(?:do(?:es)?\s+not|don't|doesn't|did\s+not|didn't|cannot|can't|fail(?:s|ed)?\s+to)"
_SOURCES = (
    r"(?:passages?|abstracts?|documents?|context|sources?|excerpts?|texts?|references|literature provided)"
)
_HOLD = (
    r"(?:answer|address|contain|provide|include|mention|report|discuss|cover|hold|give|support an answer"
    r"|bear on|allow|permit|speak to)"
)
_SAID = re.compile(
    rf"\b{_SOURCES}\b[^.;]{{0,60}}\b{_NOT}\s+(?:\w+\s+){{0,2}}{_HOLD}"
    rf"|\b(?:none|neither) of (?:the|these)\s+(?:\w+\s+){{0,2}}{_SOURCES}"
    rf"|\bno\s+(?:relevant\s+|such\s+|suitable\s+)?{_SOURCES}\b[^.;]{{0,30}}\b{_HOLD}"
    rf"|\b(?:cannot|can't|can not|could not)\s+be\s+(?:answered|determined)\b[^.;]{{0,40}}\b{_SOURCES}"
    rf"|\b(?:cannot|can't|unable to)\s+(?:answer|determine)\b"
    rf"|\bno (?:such|relevant) (?:trials?|stud(?:y|ies))\b|\bi (?:do not|don't) know\b",
    re.IGNORECASE,
)


def abstains(text: str) -> bool:
    """Whether a reply says, in its first sentence, that it cannot answer from what it was given.

    Read by a fixed list of phrases about the *passages* (``the passages do not address``, ``cannot be
    answered from these abstracts``, ``no such trial``, ``I do not know``). That evidence is insufficient is
    a finding in medicine, and is not taken for it.
    """
    sentences = split_sentences(without_marks(text))
    first = " ".join(sentences[0].split())[:400] if sentences else ""
    return _SAID.search(first) is not None and not first.lower().startswith("if ")  # the prompt, said back


def abstention() -> Metric:
    """``abstention``: 1 if the reply abstains where nothing that was shown answers. Applies there alone.

    The share of right abstentions (negative rejection in RGB, Chen et al. 2024). Who always abstains scores
    full marks here, and the worst score on every question that has an answer: see ``abstained``.
    """
    return Metric("abstention", _abstention, help="whether the reply abstains where the evidence is missing")


def abstained() -> Metric:
    """``abstained``: share of replies that abstain, in any arm; descriptive.

    Where the evidence was shown each of them is a false abstention, which the quality metrics punish.
    """
    return Metric(
        "abstained", _abstained, higher_is_better=None, kind="fact", help="share of replies that abstain"
    )


def where_answerable(*metrics: Metric) -> tuple[Metric, ...]:
    """The same metrics, which do not apply where the right reply is to abstain: no text is right there."""
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
