"""The facts about a sample that a report needs: score, documents retrieved, shown and used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from evalkit.facts import Search
from evalkit.metrics.citation import citations
from evalkit.store.records import Run

if TYPE_CHECKING:
    from evalkit.store.store import Store

Key = tuple[str, int]
"""A sample's id and the number of its repeat."""


class Seen(Struct, frozen=True):
    """One sample of one run. A sample's *gold* documents are those with its highest grade.

    ``rank`` is the rank of the first gold document, from 1; ``position`` the number of the first gold passage
    in the prompt; each is None where there is none. ``shown`` is the number of gold documents in the prompt,
    ``needed`` the number of all gold documents, or of those that the prompt had room for. ``used``: the reply
    cites a gold document; None where the task scores no citations, so that the use is not known. ``gold`` is
    the number of gold documents, ``found`` the number of them that the model itself had found after each of
    its searches; None in arms where it does not search.
    """

    cluster: str
    score: float
    rank: int | None
    position: int | None
    shown: int
    needed: int
    used: bool | None
    gold: int = 0
    found: tuple[int, ...] | None = None


class _Graded(Struct):
    """The grades of a sample."""

    relevance: dict[str, int] = {}


class _Passage(Struct):
    """The ids of a passage."""

    id: str
    doc_id: str = ""


class _Recorded(Struct, frozen=True):
    """What an answer records of the model's own searches; another task may use the name for anything."""

    searches: Any = None


class _Answer(Struct):
    """The reply of an answer, and what was retrieved and shown."""

    text: str = ""
    passages: tuple[_Passage, ...] | None = None
    ranking: tuple[str, ...] | None = None
    metadata: _Recorded = _Recorded()


class _Answered(Struct):
    answer: _Answer | None = None


def read_seen(store: Store, run: Run, metric: str) -> dict[Key, Seen]:
    """Return the samples of a run that ``metric`` scored, by id and repeat."""
    scores = store.samples.scores(run.id, {metric, "citation_recall"})
    clusters = {sequence: (cluster, value) for sequence, cluster, value in scores.get(metric, [])}
    cites = any(info.name.startswith("citation") for info in run.spec.metrics)
    recalled = {sequence: value for sequence, _, value in scores.get("citation_recall", [])}
    samples: dict[Key, Seen] = {}
    for sequence, key, sample, payload in store.samples.parts(run.id, _Graded, _Answered):
        cluster, value = clusters.get(sequence, ("", None))
        if value is not None:
            answer, answers = payload.answer or _Answer(), gold(sample.relevance)
            passages = [passage.doc_id or passage.id for passage in answer.passages or ()]
            used = _used(answer.text, passages, answers, recalled.get(sequence)) if cites else None
            seen = _seen(answers, passages, answer.ranking or (), cluster, value, used)
            found = _found(answer.metadata.searches, answers)
            samples[key] = msgspec.structs.replace(seen, gold=len(answers), found=found)
    return samples


def gold(grades: Mapping[str, int]) -> set[str]:
    """Return the gold documents of a sample: those with the highest grade, if it is above 0."""
    best = max(grades.values(), default=0)
    return {document for document, grade in grades.items() if grade == best > 0}


def _seen(
    answers: set[str],
    passages: Sequence[str],
    ranking: Sequence[str],
    cluster: str,
    score: float,
    used: bool | None,
) -> Seen:
    return Seen(
        cluster=cluster,
        score=score,
        rank=next((n for n, document in enumerate(ranking, 1) if document in answers), None),
        position=next((n for n, document in enumerate(passages, 1) if document in answers), None),
        shown=len(answers.intersection(passages)),
        needed=min(len(answers), max(len(passages), 1)),
        used=used,
    )


def _found(searches: Any, answers: set[str]) -> tuple[int, ...] | None:
    """Return the number of gold documents found after each search."""
    try:
        made = msgspec.convert(searches, list[Search])
    except msgspec.ValidationError:
        return None
    return tuple(accumulate(len(answers.intersection(search.found)) for search in made))


def _used(reply: str, passages: Sequence[str], answers: set[str], recalled: float | None) -> bool:
    """Return whether the reply cites a gold document, by the task's citation recall or else by number."""
    if recalled is not None:
        return recalled > 0
    return any(
        index is not None and passages[index] in answers
        for _, cited in citations(reply, len(passages))
        for index in cited
    )
