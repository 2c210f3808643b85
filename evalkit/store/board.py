"""Queries of a leaderboard: all tasks, the ranking of the models, the samples of a run that match filters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from msgspec import Struct, field

from evalkit.errors import UsageError, did_you_mean
from evalkit.store import conditions
from evalkit.store import schema as t
from evalkit.store.codec import Payload, unpack
from evalkit.store.conditions import Difference
from evalkit.store.database import Database
from evalkit.store.records import MetricInfo, Run, RunSpec
from evalkit.store.runs import Runs, chunks
from evalkit.types import Estimate, Status

LISTED = 300
"""Characters of a question and of a reply in a list of samples."""


class TaskInfo(Struct, frozen=True):
    """A task variant with runs: ``name`` is ``pubmed_rag[arm=oracle,k=5]``, ``base`` is ``pubmed_rag``.

    ``side_arms`` is the number of parameters with listed values that are not at their default: a task is
    shown first in its main arm (``image=real``, ``arm=retrieved``), whichever ran last.
    """

    name: str
    base: str
    params: dict[str, Any]
    runs: int
    models: int
    latest: float
    metrics: tuple[MetricInfo, ...]
    side_arms: int = 0


class Row(Struct, frozen=True):
    """One run in a ranking. ``rank`` is None, with the ``reason``, where the run must not be compared."""

    rank: int | None
    run: Run
    estimate: Estimate | None
    reason: str = ""


class SampleRow(Struct, frozen=True):
    """One line in a list of samples. ``question`` and ``reply`` may be cut to their beginnings."""

    sequence: int
    sample_id: str = field(name="document")
    repeat: int
    status: Status
    question: str
    reply: str
    error: str | None
    scores: dict[str, float | None]


class Page(Struct, frozen=True):
    """A page of the ``total`` samples that match; ``after`` and ``before`` are cursors of the next pages."""

    rows: tuple[SampleRow, ...]
    total: int
    after: int | None
    before: int | None

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return the names of the columns and the rows: the fields of a sample, then its scores."""
        names = sorted({name for row in self.rows for name in row.scores})
        rows = [
            [r.sequence, r.sample_id, r.repeat, r.status.value, r.question, r.reply, r.error]
            + [r.scores.get(name) for name in names]
            for r in self.rows
        ]
        return ["sequence", "sample", "repeat", "status", "question", "reply", "error", *names], rows


class Board:
    """Queries over many runs, which read the estimates that ``Runs.finish`` stored."""

    def __init__(self, database: Database, runs: Runs) -> None:
        self._database, self._runs = database, runs

    def tasks(self) -> list[TaskInfo]:
        """Return every task variant that has a run, by name, with the metrics of its newest run."""
        query = sa.select(t.task.c.name, t.run.c.model_id, t.run.c.started, t.run.c.spec).join(t.run)
        by_name: dict[str, list[Any]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query.order_by(t.task.c.name, t.run.c.started.desc())):
                by_name.setdefault(row.name, []).append(row)
        infos = []
        for name, rows in by_name.items():
            spec = unpack(rows[0].spec, RunSpec)
            models, latest = len({row.model_id for row in rows}), rows[0].started
            counts, arms = (len(rows), models, latest), _side_arms(spec)
            infos.append(TaskInfo(name, spec.task_name, spec.params, *counts, spec.metrics, arms))
        return infos

    def ranking(self, task: str, metric: str) -> list[Row]:
        """Return the newest complete run of each model, the best first; then the runs that are not compared.

        Ranked are the runs that differ from each other in the model only (``evalkit.store.conditions``): over
        the most samples, then under the conditions that most models share, then the newest. Ties share a
        rank. Raises ``UsageError`` for an unknown task or metric.
        """
        runs = [run for run in self._runs.find(task=task) if run.spec.task == task]
        if not runs:
            names = [info.name for info in self.tasks()]
            raise UsageError(f"no run of task {task!r}.{did_you_mean(task, names)}")
        infos = {info.name: info for run in reversed(runs) for info in run.spec.metrics}
        if metric not in infos:
            raise UsageError(f"task {task!r} has no metric {metric!r}.{did_you_mean(metric, infos)}")
        complete = [run for run in runs if run.is_complete and not conditions.mixed(run)]
        unlike = _differences_by_run(complete, metric)
        ranked: list[tuple[Run, Estimate]] = []
        apart: list[Row] = []
        for model in dict.fromkeys(run.spec.model for run in runs):
            of_model = [run for run in runs if run.spec.model == model]
            newest = of_model[0]
            best = next((run for run in of_model if unlike.get(run.id) == []), None)
            if best and (estimate := best.metrics.get(metric)) and not math.isnan(estimate.value):
                ranked.append((best, estimate))
            elif best:
                apart.append(Row(None, best, None, "the metric does not apply to this run"))
            if newest is not best:
                reason = _reason(newest, unlike.get(newest.id, []))
                apart.append(Row(None, newest, newest.metrics.get(metric), reason))
        return _in_order(ranked, infos[metric]) + apart

    def page(
        self,
        run_id: str,
        *,
        status: str | Sequence[str] | None = None,
        metric: str | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
        text: str | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
        whole: bool = False,
    ) -> Page:
        """Return the samples that match, by sequence: ``limit`` of them after a sequence, or before one.

        ``text`` is searched in id, question, error and the first 4,000 characters of the reply, ignoring
        case. With ``metric``, samples match that have a value of the metric within the limits. Questions and
        replies are cut after 300 characters, unless they shall be ``whole``.
        """
        s = t.sample.c
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            where = [s.run_key == key, *_filters(status, metric, at_least, at_most, text)]
            matching = sa.select(s.sequence).join(t.dataset_sample).where(*where)
            total = connection.execute(
                sa.select(sa.func.count()).select_from(matching.subquery())
            ).scalar_one()
            if before is not None:
                keyset = matching.where(s.sequence < before).order_by(s.sequence.desc())
            else:
                keyset = matching.where(s.sequence > (-1 if after is None else after)).order_by(s.sequence)
            here = sorted(connection.scalars(keyset.limit(limit)))
            rows = _sample_rows(connection, key, here, whole)
            first, last = (here[0], here[-1]) if here else (0, -1)
            earlier, later = (
                bool(here) and connection.scalar(matching.where(condition).limit(1)) is not None
                for condition in (s.sequence < first, s.sequence > last)
            )
        return Page(tuple(rows), total, last if later else None, first if earlier else None)


def _side_arms(spec: RunSpec) -> int:
    listed = {name: info.default for name, info in spec.reproduction.parameters.items() if info.choices}
    return sum(name in spec.params and spec.params[name] != default for name, default in listed.items())


def _differences_by_run(complete: Sequence[Run], metric: str) -> dict[str, list[Difference]]:
    """Return by run its differences from the run that stands for the ranking; none for equals."""
    if not complete:
        return {}
    models: dict[bytes, set[str]] = {}
    keys = {run.id: conditions.key(run, metric) for run in complete}
    for run in complete:
        models.setdefault(keys[run.id], set()).add(run.spec.model)
    reference = max(complete, key=lambda run: (run.n, len(models[keys[run.id]]), run.started))
    return {run.id: conditions.for_metric(conditions.differences(run, reference), metric) for run in complete}


def _reason(run: Run, unlike: Sequence[Difference]) -> str:
    expected = "?" if run.spec.n_expected is None else f"{run.spec.n_expected:,}"
    if changed := conditions.mixed(run):
        return f"a mix: resumed after a change of {changed}"
    if run.status == "complete":
        if all(one.kind == "samples" for one in unlike):
            return f"ran on other samples than the ranked runs ({run.n:,})"
        return f"differs from the ranked runs in {conditions.listed(unlike)}"
    parts = []
    if run.n != run.spec.n_expected:
        parts.append(f"{run.n:,} of {expected} done")
    if errors := run.counts.get(Status.ERROR, 0):
        parts.append(f"{errors:,} of {expected} failed")
    return f"{run.status}: {', '.join(parts)}" if parts else run.status


def _in_order(ranked: list[tuple[Run, Estimate]], info: MetricInfo) -> list[Row]:
    if info.higher_is_better is None:  # a length, a latency: shown, never ranked
        rows = sorted(ranked, key=lambda pair: pair[0].spec.model)
        return [Row(None, run, estimate, "descriptive") for run, estimate in rows]
    sign = -1 if info.higher_is_better else 1
    rows = sorted(ranked, key=lambda pair: (sign * pair[1].value, pair[0].spec.model))
    values = [estimate.value for _, estimate in rows]
    return [Row(values.index(estimate.value) + 1, run, estimate) for run, estimate in rows]


def _filters(
    status: str | Sequence[str] | None,
    metric: str | None,
    at_least: float | None,
    at_most: float | None,
    text: str | None,
) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = []
    if status:
        where.append(t.sample.c.status.in_([status] if isinstance(status, str) else list(status)))
    if metric:
        c = t.score.c
        scored = sa.select(1).where(
            c.run_key == t.sample.c.run_key, c.sequence == t.sample.c.sequence, c.metric == metric
        )
        scored = scored.where(c.value.is_not(None) if at_least is None else c.value >= at_least)
        where.append(sa.exists(scored if at_most is None else scored.where(c.value <= at_most)))
    if text:
        columns = (
            t.dataset_sample.c.sample_id,
            t.dataset_sample.c.question,
            t.sample.c.excerpt,
            t.sample.c.error,
        )
        where.append(sa.or_(*(column.icontains(text, autoescape=True) for column in columns)))
    return where


def _sample_rows(
    connection: sa.Connection, key: int, sequences: Sequence[int], whole: bool
) -> list[SampleRow]:
    s, i = t.sample.c, t.dataset_sample.c
    columns = (s.sequence, i.sample_id, s.repeat, s.status, s.error)
    cut = (sa.func.substr(i.question, 1, LISTED), sa.func.substr(s.excerpt, 1, LISTED))
    texts = (i.question, t.payload.c.body) if whole else cut
    rows: list[SampleRow] = []
    for chunk in chunks(sequences):
        scores: dict[int, dict[str, float | None]] = {}
        c = t.score.c
        query = sa.select(c.sequence, c.metric, c.value).where(c.run_key == key, c.sequence.in_(chunk))
        for sequence, metric, value in connection.execute(query):
            scores.setdefault(sequence, {})[metric] = value
        matching = sa.select(*columns, *texts).join(t.dataset_sample)
        matching = matching.join(t.payload) if whole else matching
        matching = matching.where(s.run_key == key, s.sequence.in_(chunk)).order_by(s.sequence)
        for sequence, sample_id, repeat, status, error, question, reply in connection.execute(matching):
            values = scores.get(sequence, {})
            if whole:
                answer = unpack(reply, Payload).answer
                reply = answer.reply if answer else ""
            rows.append(
                SampleRow(sequence, sample_id, repeat, Status(status), question, reply, error, values)
            )
    return rows
