"""The exact metrics of fictional trials: all facts are known, so no judge or model is needed.

A citation is ``[2]`` (a passage of the prompt) or ``[FT-0123456]`` (a trial by its id, as the reference
summaries cite). A summary that does not name the drug of the question says nothing about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

import msgspec

from evalkit import Answer, Metric, Passage, Sample, only
from evalkit.metrics.citation import applies, citations
from evalkit.metrics.mentions import numbers
from evalkit.reading.fold import fold
from evalkit.reading.marks import without_marks
from evalkit.reading.negation import denied

from . import reading
from .effects import HUNDREDTH

_WITHDRAWN = re.compile(r"\b(?:retract|withdr[ae]w)", re.IGNORECASE)
_BY_ID = re.compile(r"\[\s?(FT-\d{7}(?:\s?[,;]\s?FT-\d{7})*)\s?\]")


def positioned(sample: Sample, answer: Answer) -> tuple[str, tuple[Passage, ...]]:
    """Return the reply with all citations by number, and the passages that the numbers refer to.

    A trial cited by id that was not shown is appended to the passages if it answers the question; another id
    becomes ``[0]``, the number of no passage.
    """
    passages = list(answer.passages or ())
    places = {passage.document: n for n, passage in reversed(list(enumerate(passages, 1)))}
    known: dict[str, str] = sample.metadata["trials"]

    def number(name: str) -> int:
        if name not in places and name in known:
            passages.append(Passage(name, known[name]))
            places[name] = len(passages)
        return places.get(name, 0)

    def marks(match: re.Match[str]) -> str:
        return "".join(f"[{number(name)}]" for name in re.findall(r"FT-\d{7}", match[1]))

    return _BY_ID.sub(marks, fold(answer.reply)), tuple(passages)


def answering(metric: Metric) -> Metric:
    """Return a citation metric that accepts trial ids; only trials that answer the question are right."""

    def fn(sample: Sample, answer: Answer) -> float | None:
        grades = {name: grade for name, grade in sample.relevance.items() if grade == 2}
        sample = msgspec.structs.replace(sample, relevance=grades)
        if answer.passages is None:
            return metric.fn(sample, answer)
        text, passages = positioned(sample, answer)
        return metric.fn(sample, msgspec.structs.replace(answer, text=text, passages=passages))

    return replace(metric, fn=fn)


def _words_of(sample: Sample, answer: Answer) -> str | None:
    """Return the reply without citations, or None where it does not name the drug."""
    text = without_marks(positioned(sample, answer)[0])
    return text if _names(text, sample.metadata["drug"]) else None


def _names(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) is not None


def fact_recall(sample: Sample, answer: Answer) -> float:
    """Return the share of the gold facts that the summary states; 0 if it does not name the drug.

    The facts are the direction, the number of trials, the participants, the pooled effect, its interval, the
    conflict of the trials, and each trial's own estimate. In an indirect comparison the control of both drugs
    replaces the conflict.

    Numbers match by value, without sign, in any usual format. Effects must be written with decimals; further
    decimals match if they round to the gold number. The ends of the interval must be adjacent, in any order.
    """
    text = _words_of(sample, answer)
    if text is None:
        return 0.0
    written = numbers(text)
    integers = {number for number in written if number == number.to_integral_value()}
    decimals = [number.quantize(HUNDREDTH) for number in written if "." in str(number)]
    ranges = {frozenset(pair) for pair in pairwise(decimals)}
    stated: dict[str, Callable[[str], bool]] = {
        "direction": lambda gold: _direction(sample, text) == gold,
        "trials": lambda gold: int(gold) in reading.trial_counts(text),
        "participants": lambda gold: Decimal(gold) in integers,
        "interval": lambda gold: frozenset(numbers(gold)) in ranges,
        "conflict": lambda gold: reading.conflict(text) is (gold == "yes"),
        "comparator": lambda gold: _names(text, gold),
    }

    def number(gold: str) -> bool:
        return abs(Decimal(gold)) in decimals

    facts: dict[str, str] = sample.metadata["facts"]
    return sum(stated.get(name, number)(gold) for name, gold in facts.items()) / len(facts)


def _direction(sample: Sample, text: str) -> str | None:
    about = sample.metadata
    return reading.direction(text, about["drug"], about["control"], about["desirable"])


def evidence_direction(sample: Sample, answer: Answer) -> float:
    """Return 1 if the summary states the gold direction of evidence, else 0.

    The directions are: favours treatment, favours control, no clear difference, conflicting. The score is 0
    also if none or several are stated, or the drug is not named.
    """
    text = _words_of(sample, answer)
    return float(text is not None and _direction(sample, text) == sample.metadata["facts"]["direction"])


def unsupported_numbers(sample: Sample, answer: Answer) -> float:
    """Return the share of the summary's numbers (in digits) without support. Lower is better.

    A number has support if a passage that the summary cites contains it, or if it is derived from the trials
    that answer the question: their number, participants, pooled effect with interval, or a pooled ratio's
    relative change in percent. A summary without numbers scores 1, since the effect is missing.
    """
    text, passages = positioned(sample, answer)
    sentences = citations(text, len(passages))
    cited = {i for _, marks in sentences for i in marks if i is not None}
    supported = _derived(sample).union(*(_numbers_of(passages[i]) for i in cited))
    written = [number for sentence, _ in sentences for number in numbers(sentence)]
    return sum(number not in supported for number in written) / len(written) if written else 1.0


def citation_support(sample: Sample, answer: Answer) -> float | None:
    """Return the share of the sentences that their citations support.

    Such a sentence states at least one fact (a number, the drug or the condition). A passage that it cites
    contains each of its numbers, or the number is derived (see ``unsupported_numbers``) and the sentence
    cites every trial that answers the question. Each cited passage names the drug and the condition, if the
    sentence does. A sentence without citations, or with a citation of no passage, is not supported; a reply
    without sentences scores 0. The metric does not apply (None) where the prompt has no passages, or none
    that answer, by design.
    """
    if not applies(answer):
        return None
    text, passages = positioned(sample, answer)
    sentences = citations(text, len(passages))
    supported = 0
    for sentence, marks in sentences:
        sources = [passages[i] for i in marks if i is not None]
        on_topic = _about(sample, sentence, sources)
        supported += len(on_topic) == len(marks) > 0 and is_supported(sample, sentence, sources)
    return supported / len(sentences) if sentences else 0.0


def is_supported(sample: Sample, sentence: str, sources: Sequence[Passage]) -> bool:
    """Return whether the sources that name the sentence's drug and condition contain all its numbers, or all
    trials that the numbers are derived from. A sentence that states no fact is not supported."""
    on_topic = _about(sample, sentence, sources)
    written = _numbers_in(sentence)
    supported = set[Decimal]().union(*map(_numbers_of, on_topic))
    if sample.metadata["trials"].keys() <= {source.document for source in on_topic}:
        supported |= _derived(sample)
    states = bool(written) or any(_names(sentence, name) for names in _topic(sample) for name in names)
    return states and bool(on_topic) and supported.issuperset(written)


def _about(sample: Sample, sentence: str, sources: Sequence[Passage]) -> list[Passage]:
    """Return the sources that name the condition and a drug, where the sentence does."""
    named = [[name for name in names if _names(sentence, name)] for names in _topic(sample)]
    return [
        source
        for source in sources
        if all(any(_names(f"{source.title} {source.text}", n) for n in names) for names in named if names)
    ]


def _topic(sample: Sample) -> tuple[list[str], list[str]]:
    """Return the drugs of the question (two in an indirect comparison), and the condition."""
    about = sample.metadata
    drugs = [about["drug"], about["control"]] if sample.slices.get("kind") == "indirect" else [about["drug"]]
    return drugs, [about["condition"]]


def _numbers_of(passage: Passage) -> frozenset[Decimal]:
    return _numbers_in(f"{passage.title} {passage.text}")


@lru_cache(maxsize=4096)  # a judge asks about the same passages and sentences many times
def _numbers_in(text: str) -> frozenset[Decimal]:
    return frozenset(numbers(text))


def _derived(sample: Sample) -> set[Decimal]:
    return {abs(Decimal(number)) for number in sample.metadata["derived"]}


def retraction_heeded(sample: Sample, answer: Answer) -> float | None:
    """Return 1 if the summary cites a valid trial, and not the retracted one or its estimate.

    A sentence that calls a trial retracted or withdrawn may do both. The score is 0 if the drug is not named.
    The metric applies where the prompt has the retracted trial and one that answers the question.
    """
    retracted: dict[str, str] = sample.metadata.get("retracted", {})
    shown = {passage.document for passage in answer.passages or ()}
    if shown.isdisjoint(retracted) or shown.isdisjoint(sample.metadata["trials"]):
        return None
    text, passages = positioned(sample, answer)
    figures = {abs(Decimal(estimate)) for estimate in retracted.values()}
    cited: set[str] = set()
    for sentence, marks in citations(text, len(passages)):
        if any(not denied(sentence, *match.span()) for match in _WITHDRAWN.finditer(sentence)):
            continue
        cited |= {passages[i].document for i in marks if i is not None}
        if figures.intersection(number.quantize(HUNDREDTH) for number in numbers(sentence)):
            return 0.0
    valid = cited.intersection(sample.metadata["trials"])
    return float(bool(valid) and cited.isdisjoint(retracted) and _words_of(sample, answer) is not None)


def _metric(fn: Callable[[Sample, Answer], float | None], text: str, better: bool = True) -> Metric:
    return Metric(fn.__name__, fn, higher_is_better=better, help=text, version=2)


EXACT = (
    _metric(fact_recall, "share of the gold facts that the summary states"),
    _metric(evidence_direction, "whether the summary states the right direction of evidence"),
    _metric(citation_support, "share of sentences whose citations bear out what they say"),
    _metric(
        unsupported_numbers,
        "share of numbers that no cited passage holds; 1 without any number",
        better=False,
    ),
)

HARD = (
    _metric(retraction_heeded, "whether a trial that was retracted is left out"),
    only(EXACT[1], "indirect_direction", kind="indirect"),
)
"""Metrics of one kind of hard questions each."""
