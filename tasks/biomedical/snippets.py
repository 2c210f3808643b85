"""BioASQ's measures of snippets: characters of the returned snippets that the experts marked too.

Source: BioASQ's Evaluation-Measures (``QuestionAnswerEvaluator``, ``Snippet``; Balikas et al. 2013), as
changed for task 8b. Overlapping snippets of one section are merged. The first ten returned snippets count.
A snippet ends at its offset plus its length, and the program counts the character there too: a snippet of 10
characters counts as 11, and two snippets that touch share one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from evalkit import Answer, Metric, Sample

MOST = 10
EPSILON = 1e-5  # of BioASQ's geometric mean


class Span(NamedTuple):
    """A piece of one section of a document: characters from ``begin`` to ``end``, both included."""

    document: str
    section: str
    begin: int
    end: int

    @property
    def size(self) -> int:
        """The number of characters."""
        return self.end - self.begin + 1

    def shared(self, other: Span) -> int:
        """Return how many characters two spans share."""
        if self[:2] != other[:2]:
            return 0
        return max(0, min(self.end, other.end) - max(self.begin, other.begin) + 1)


def span(id: str, text: str, place: Mapping[str, Any]) -> Span | None:
    """Return the span of a snippet ``DOCUMENT#N``; None where its section and offset are not known."""
    if not isinstance(place.get("offset"), int) or not place.get("section"):
        return None
    return Span(id.rpartition("#")[0], place["section"], place["offset"], place["offset"] + len(text))


def merged(spans: Iterable[Span]) -> list[Span]:
    """Merge spans that share characters, at the position of the first."""
    result: list[Span] = []
    for span in spans:
        touched = [other for other in result if other.shared(span)]
        if not touched:
            result.append(span)
            continue
        parts = (span, *touched)
        union = Span(*span[:2], min(part.begin for part in parts), max(part.end for part in parts))
        result[result.index(touched[0])] = union
        result = [other for other in result if other not in touched[1:]]
    return result


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean over questions of their average precisions, each plus 0.00001."""
    return math.exp(math.fsum(math.log(value + EPSILON) for value in values) / len(values))


def bioasq_snippets(measure: Literal["precision", "recall", "f1", "ap", "gmap"]) -> Metric:
    """``bioasq_snippets_precision`` …: one of BioASQ's measures of snippets.

    Precision and recall are shared characters over those returned and over those marked; F1 is their harmonic
    mean. Average precision sums the precision up to each returned snippet that shares a character with a
    marked one, over min(10, marked snippets); ``gmap`` is its geometric mean over questions. (The challenge's
    own program counts every snippet of a document with a marked one.) Average precision can exceed 1, since
    several returned snippets may lie in one marked snippet.
    """
    return Metric(
        f"bioasq_snippets_{measure}",
        partial(_score, measure),
        kind="retrieval",
        high={"ap": MOST, "gmap": MOST + EPSILON}.get(measure, 1.0),
        aggregate=geometric_mean if measure == "gmap" else None,
        help=f"{measure} of the first ten snippets, by characters (BioASQ)",
        version=2,
    )


def _score(measure: str, sample: Sample, answer: Answer) -> float | None:
    marked = [Span(*fields) for fields in sample.metadata.get("snippets", ())]
    if answer.ranked is None or answer.passages is None or not marked:
        return None
    returned = [span(p.id, p.text, p.metadata) for p in answer.passages[:MOST]]
    spans = [found for found in returned if found is not None]
    if len(spans) < len(returned):
        return None  # a pool without offsets
    return _measure(measure, merged(spans), merged(marked))


def _measure(measure: str, returned: Sequence[Span], marked: Sequence[Span]) -> float:
    shared = [sum(returned_span.shared(other) for other in marked) for returned_span in returned]
    sizes = [returned_span.size for returned_span in returned]
    precision = _share(sum(shared), sum(sizes))
    recall = _share(sum(shared), sum(returned_span.size for returned_span in marked))
    if measure in ("ap", "gmap"):
        precisions = (_share(sum(shared[:n]), sum(sizes[:n])) for n, hit in enumerate(shared, 1) if hit)
        return sum(precisions) / min(MOST, len(marked))
    f1 = _share(2 * precision * recall, precision + recall)
    return {"precision": precision, "recall": recall, "f1": f1}[measure]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
