"""Scores stored answers again, with the task's present metrics. No model is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from evalkit.collection.sources import item_of
from evalkit.collection.with_metrics import with_metrics
from evalkit.run import provenance
from evalkit.run.aggregate import aggregate_run
from evalkit.run.engine import BATCH
from evalkit.run.reread import reasoning_marks, reread
from evalkit.run.runner import check_metrics, typed
from evalkit.run.scoring import Scorer
from evalkit.store.records import Run, RunStatus, SampleRecord
from evalkit.util.boundary import contained

if TYPE_CHECKING:
    from evalkit.store.store import Store


async def rescore(
    run: Run, store: Store, metrics: Sequence[str] = (), marks: tuple[str, str] | None = None
) -> Run:
    """Score stored answers again with the task's present metrics; return the run. No model is called.

    ``metrics`` are expressions as in a task file; they are added to the run's own. ``marks`` open and close
    reasoning in the answers; by default those of the run's model.
    """
    with contained(typed):
        return await _rescore(run, store, metrics, marks)


async def _rescore(run: Run, store: Store, metrics: Sequence[str], marks: tuple[str, str] | None) -> Run:
    item = item_of(run.spec)
    item = replace(item, task=with_metrics(item.task, metrics))
    await check_metrics(item)
    spec = msgspec.structs.replace(run.spec, metrics=provenance.metric_infos(item))
    store.runs.claim(run.id)
    if marks:
        store.runs.add_provenance(run.id, reasoning_marks=marks)
    marks = marks or reasoning_marks(run.spec)
    with Scorer(item.task, run.n) as scorer:
        batch: list[SampleRecord] = []
        for stored in store.samples.records(run.id):
            if stored.answer is not None:
                record = reread(stored, marks)
                if record is not stored:
                    store.samples.write(run.id, [record])
                batch.append(record)
            if len(batch) >= BATCH:
                await _rescore_batch(batch, run.id, store, scorer)
                batch = []
        if batch:
            await _rescore_batch(batch, run.id, store, scorer)
    store.runs.set_metrics(run.id, spec.metrics, item.task.added)
    before: RunStatus = "interrupted" if run.status == "interrupted" else "complete"
    aggregate_run(store, item, spec, before, run.wall_s)
    return store.runs.get(run.id)


async def _rescore_batch(batch: list[SampleRecord], run_id: str, store: Store, scorer: Scorer) -> None:
    answered = [(r.sample, r.answer, r.status) for r in batch if r.answer is not None]
    scores = await scorer.score(answered)
    store.samples.replace_scores(run_id, {r.sequence: s for r, s in zip(batch, scores, strict=True)})
