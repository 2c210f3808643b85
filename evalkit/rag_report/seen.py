"""What the report needs of each sample of a run: its score, what was found and shown, what the reply used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from evalkit.metrics.citation import citations
from evalkit.store.records import Run, SampleRecord

if TYPE_CHECKING:
    from evalkit.store.store import Store

Key = tuple[str, int]
"""A sample's id and the number of its repeat: what runs are paired by."""


class Seen(Struct, frozen=True):
    """One sample of one run. A document is *gold* where no other is graded higher for the sample.

    ``rank`` is that of the first gold document in the ranking, from 1; ``position`` the number of the first
    gold passage in the prompt; None where there is none. ``shown`` gold documents out of ``needed``: all of
    them, or as many as the prompt had room for; 0 where the sample has none. ``used``: the reply cites a
    gold document; None where the task scores no citations, so that nothing can be said.
    """

    cluster: str
    score: float
    rank: int | None
    position: int | None
    shown: int
    needed: int
    used: bool | None


def look(store: Store, run: Run, metric: str) -> dict[Key, Seen]:
    """The samples of a run that ``metric`` applies to, by id and repeat."""
    scores = store.scores(run.id)
    clusters = {sequence: (cluster, value) for sequence, cluster, value in scores.get(metric, [])}
    cites = any(info.name.startswith("citation") for info in run.spec.metrics)
    recalled = {sequence: value for sequence, _, value in scores.get("citation_recall", [])}
    found: dict[Key, Seen] = {}
    for record in store.records(run.id, sequences=clusters):
        cluster, value = clusters[record.sequence]
        if value is None:
            continue
        used = _used(record, recalled.get(record.sequence)) if cites else None
        found[record.sample.id, record.repeat] = _seen(record, cluster, value, used)
    return found


def gold(record: SampleRecord) -> set[str]:
    """The documents that answer a sample."""
    grades = record.sample.relevance
    best = max(grades.values(), default=0)
    return {document for document, grade in grades.items() if grade == best > 0}


def _seen(record: SampleRecord, cluster: str, score: float, used: bool | None) -> Seen:
    answers, answer = gold(record), record.answer
    passages = [] if answer is None else [p.document for p in answer.passages or ()]
    ranking: Sequence[str] = () if answer is None else answer.ranked or ()
    return Seen(
        cluster=cluster,
        score=score,
        rank=next((n for n, document in enumerate(ranking, 1) if document in answers), None),
        position=next((n for n, document in enumerate(passages, 1) if document in answers), None),
        shown=len(answers.intersection(passages)),
        needed=min(len(answers), max(len(passages), 1)),
        used=used,
    )


def _used(record: SampleRecord, recalled: float | None) -> bool:
    """Whether the reply cites a gold document: by the task's own metric, or else by number."""
    if recalled is not None:
        return recalled > 0
    passages = (record.answer.passages if record.answer else None) or ()
    answers, reply = gold(record), record.answer.reply if record.answer else ""
    return any(
        index is not None and passages[index].document in answers
        for _, cited in citations(reply, len(passages))
        for index in cited
    )
