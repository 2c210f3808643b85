"""BioASQ's measures of snippets: how many characters of what was returned the experts marked, too.

Source: BioASQ's Evaluation-Measures (``QuestionAnswerEvaluator``; Balikas et al. 2013), as changed for task
8b. Snippets of one section that overlap are one. Of those returned the first ten count.
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
    """A piece of one section of a document: characters ``begin`` up to, not with, ``end``."""

    document: str
    section: str
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Its number of characters."""
        return self.end - self.begin

    def shared(self, other: Span) -> int:
        """How many characters both hold."""
        if self[:2] != other[:2]:
            return 0
        return max(0, min(self.end, other.end) - max(self.begin, other.begin))


def span(id: str, text: str, place: Mapping[str, Any]) -> Span | None:
    """Where a snippet, named ``DOCUMENT#N``, stands; None where its section and offset are not known."""
    if not isinstance(place.get("offset"), int) or not place.get("section"):
        return None
    return Span(id.rpartition("#")[0], place["section"], place["offset"], place["offset"] + len(text))


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans that share characters as one, at the place of the first."""
    found: list[Span] = []
    for one in spans:
        touched = [other for other in found if other.shared(one)]
        if not touched:
            found.append(one)
            continue
        whole = Span(*one[:2], min(s.begin for s in (one, *touched)), max(s.end for s in (one, *touched)))
        found[found.index(touched[0])] = whole
        found = [other for other in found if other not in touched[1:]]
    return found


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean over questions of their average precisions, each with 0.00001 added."""
    return math.exp(math.fsum(math.log(value + EPSILON) for value in values) / len(values))


def bioasq_snippets(measure: Literal["precision", "recall", "f1", "ap", "gmap"]) -> Metric:
    """``bioasq_snippets_precision`` …: shared characters over those returned, over those marked, and their
    harmonic mean; average precision, over min(10, snippets marked), and its geometric mean over questions.

    The average precision is a sum over returned snippets that share any character with a marked one, of the
    precision so far. (The challenge's own program counts every snippet of a document with a marked one.) It
    can exceed 1: several returned snippets may lie in one marked one.
    """
    return Metric(
        f"bioasq_snippets_{measure}",
        partial(_score, measure),
        kind="retrieval",
        high={"ap": MOST, "gmap": MOST + EPSILON}.get(measure, 1.0),
        aggregate=geometric_mean if measure == "gmap" else None,
        help=f"{measure} of the first ten snippets, by characters (BioASQ)",
    )


def _score(measure: str, sample: Sample, answer: Answer) -> float | None:
    marked = [Span(*place) for place in sample.metadata.get("snippets", ())]
    if answer.ranked is None or answer.passages is None or not marked:
        return None
    places = [span(p.id, p.text, p.metadata) for p in answer.passages[:MOST]]
    known = [place for place in places if place is not None]
    if len(known) < len(places):
        return None  # a pool without places
    return _measure(measure, merged(known), merged(marked))


def _measure(measure: str, returned: Sequence[Span], marked: Sequence[Span]) -> float:
    shared = [sum(one.shared(other) for other in marked) for one in returned]
    sizes = [one.size for one in returned]
    precision = _share(sum(shared), sum(sizes))
    recall = _share(sum(shared), sum(one.size for one in marked))
    if measure in ("ap", "gmap"):
        so_far = (_share(sum(shared[:n]), sum(sizes[:n])) for n, hit in enumerate(shared, 1) if hit)
        return sum(so_far) / min(MOST, len(marked))
    f1 = _share(2 * precision * recall, precision + recall)
    return {"precision": precision, "recall": recall, "f1": f1}[measure]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
