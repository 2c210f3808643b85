"""Citations: the passages that each sentence of a reply cites, and whether they are relevant.

``evalkit.reading.marks`` says what a citation mark is: square brackets around passage numbers, counted from
1 (``[1]``, ``[1, 2]``, ``[1-3]``, ``[1][2]``), or another form that models use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from evalkit.data.sentences import CAPITAL, split_sentences
from evalkit.facts import Shown, read
from evalkit.metric import Metric
from evalkit.reading.marks import MARKS_AND_SPACE, parted, spelt_out
from evalkit.reading.marks import without_marks as without_marks
from evalkit.reading.patterns import regex
from evalkit.types import Answer, Sample

# "[1] It works.\n[2] It is safe.": a line may begin with its citation.
_LINE_OF_ITS_OWN = regex(rf"\n(?={MARKS_AND_SPACE}[{CAPITAL}])")
_WORD = regex(r"\w")


def citations(text: str, n: int) -> list[tuple[str, list[int | None]]]:
    """Return each sentence of a reply, without its marks, and the passages that it cites out of ``n``.

    Passages are indices from 0, each once per sentence, in the order of citation; None stands for a mark
    that points to no passage. A mark behind the full stop (``works. [1] Next``) belongs to the sentence
    before the mark, unless the mark begins a line. A line of marks alone belongs to the sentence before the
    line. Marks without any sentence before them cite nothing. The end of a range is cut at ``n + 1``:
    ``[1-999]`` has one wrong citation more than ``[1-n]``.
    """
    sentences: list[tuple[str, dict[int, None]]] = []
    for piece in split_sentences(_LINE_OF_ITS_OWN.sub("\n\n", spelt_out(text))):
        sentence, marks = parted(piece)
        numbers = dict.fromkeys(_numbers(marks, n))
        if _WORD.search(sentence):
            sentences.append((sentence.strip(), numbers))
        elif sentences:
            sentences[-1][1].update(numbers)
    return [(sentence, [i - 1 if 1 <= i <= n else None for i in numbers]) for sentence, numbers in sentences]


def _numbers(cited: Iterable[str], n: int) -> Iterable[int]:
    for mark in cited:
        for part in re.split("[,;、，&]|and", mark):
            ends = [int(digits) for digits in re.findall("[0-9]+", part)]
            low, high = min(ends), max(ends)
            yield from range(low, max(low, min(high, n + 1)) + 1)


def citation_precision() -> Metric:
    """Return the share of the citations that point to a relevant document (``sample.relevance`` > 0).

    A passage counts once for each sentence that cites it. A mark that points to no passage is a wrong
    citation. A reply without citations scores 0. Does not apply (None) where the prompt held no passages by
    design, where the relevant passages were kept out of the prompt by design (see ``evalkit.rag.arms``), or
    where no document is known to be relevant.
    """
    return Metric(
        "citation_precision",
        _precision,
        help="share of citations that point to a relevant document",
        version=2,
    )


def citation_recall() -> Metric:
    """Return the share of all relevant documents (``sample.relevance`` > 0) that the reply cites.

    A relevant document that was not retrieved counts too: the pipeline has missed it. Applies where
    ``citation_precision`` applies.
    """
    return Metric(
        "citation_recall", _recall, help="share of the relevant documents that are cited", version=2
    )


def citation_coverage() -> Metric:
    """Return the share of the reply's sentences that cite a passage shown, relevant or not.

    A reply without sentences scores 0. Does not apply (None) where the prompt held no passages, or no
    relevant ones, by design. TREC BioGen's citation coverage also asks that the citation supports the
    sentence.
    """
    return Metric("citation_coverage", _coverage, help="share of sentences with a citation", version=2)


def _precision(sample: Sample, answer: Answer) -> float | None:
    relevant = _relevant(sample)
    if not applies(answer) or not relevant:
        return None
    cited = _cited(answer)
    return sum(document in relevant for document in cited) / len(cited) if cited else 0.0


def _recall(sample: Sample, answer: Answer) -> float | None:
    relevant = _relevant(sample)
    if not applies(answer) or not relevant:
        return None
    return len(relevant.intersection(_cited(answer))) / len(relevant)


def applies(answer: Answer) -> bool:
    """Whether there was something to cite: passages, the relevant ones not kept back by design."""
    return answer.passages is not None and not read(answer, Shown).withheld


def _coverage(sample: Sample, answer: Answer) -> float | None:
    if not applies(answer):
        return None
    sentences = citations(answer.reply, len(answer.passages or ()))
    covered = sum(any(index is not None for index in cited) for _, cited in sentences)
    return covered / len(sentences) if sentences else 0.0


def _relevant(sample: Sample) -> set[str]:
    return {document for document, grade in sample.relevance.items() if grade > 0}


def _cited(answer: Answer) -> list[str | None]:
    """Return the document of each citation, None for a mark that points to no passage."""
    passages = answer.passages or ()
    return [
        None if index is None else passages[index].document
        for _, cited in citations(answer.reply, len(passages))
        for index in cited
    ]
