"""Queries of a leaderboard: all tasks, the ranking of the models, the samples of a run that match filters."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

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

Order = Literal["sequence", "lowest", "highest"]
_SEARCHED = (t.dataset_sample.c.sample_id, t.dataset_sample.c.question, t.sample.c.excerpt, t.sample.c.error)


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
    cost: float | None = None
    judge_cost: float | None = None


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
            + [r.cost, r.judge_cost]
            + [r.scores.get(name) for name in names]
            for r in self.rows
        ]
        fields = [
            "sequence",
            "sample",
            "repeat",
            "status",
            "question",
            "reply",
            "error",
            "cost",
            "judge_cost",
        ]
        return [*fields, *names], rows


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
            specs = (unpack(row.spec, RunSpec) for row in rows)
            if (spec := next((spec for spec in specs if not spec.hidden), None)) is None:
                continue
            models, latest = len({row.model_id for row in rows}), rows[0].started
            counts, arms = (len(rows), models, latest), _side_arms(spec)
            infos.append(TaskInfo(name, spec.task_name, spec.params, *counts, spec.metrics, arms))
        return infos

    def ranking(self, task: str, metric: str, chosen: Collection[str] = ()) -> list[Row]:
        """Return the newest complete run of each model, the best first; then the runs that are not compared.

        Hidden runs are left out. ``chosen`` run ids stand in place of their models' newest runs; several of
        one model stand beside each other.

        Ranked are the runs that differ from each other in the model only (``evalkit.store.conditions``): over
        the most samples, then under the conditions that most models share, then the newest. Ties share a
        rank. Raises ``UsageError`` for an unknown task or metric.
        """
        found = [run for run in self._runs.find(task=task) if run.spec.task == task]
        groups = _of_models([run for run in found if run.id in chosen or not run.spec.hidden], chosen)
        runs = [run for group in groups for run in group]
        if not found:
            names = [info.name for info in self.tasks()]
            raise UsageError(f"no run of task {task!r}.{did_you_mean(task, names)}")
        infos = {info.name: info for run in reversed(found) for info in run.spec.metrics}
        if metric not in infos:
            raise UsageError(f"task {task!r} has no metric {metric!r}.{did_you_mean(metric, infos)}")
        complete = [run for run in runs if run.is_complete and not conditions.mixed(run)]
        unlike = _differences_by_run(complete, metric)
        ranked: list[tuple[Run, Estimate]] = []
        apart: list[Row] = []
        for of_model in groups:
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
        order: Order = "sequence",
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
        whole: bool = False,
    ) -> Page:
        """Return the samples that match: ``limit`` of them after a sequence, or before one.

        ``text`` is searched in id, question, error and the first 4,000 characters of the reply, ignoring
        case. With ``metric``, samples match that have a value of the metric within the limits. ``order`` is
        by sequence, or by the metric's value: the ``lowest`` or the ``highest`` first. Questions and replies
        are cut after 300 characters, unless they shall be ``whole``.
        """
        s = t.sample.c
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            where = [s.run_key == key, *_filters(status, metric, at_least, at_most)]
            if text:
                where.append(sa.or_(*(self._database.contains(column, text) for column in _SEARCHED)))
            matching = sa.select(s.sequence).join(t.dataset_sample).where(*where)
            total = connection.execute(
                sa.select(sa.func.count()).select_from(matching.subquery())
            ).scalar_one()
            place: sa.ColumnElement[Any] = s.sequence
            if metric and order != "sequence":
                place, matching = _by_value(matching, metric, order == "highest")
            ordered = _Ordered(connection, matching, place)
            here = ordered.before(before, limit) if before is not None else ordered.after(after, limit)
            rows = _sample_rows(connection, key, here, whole)
            earlier = bool(here) and ordered.before(here[0], 1) != []
            later = bool(here) and ordered.after(here[-1], 1) != []
        return Page(tuple(rows), total, here[-1] if later else None, here[0] if earlier else None)


def _of_models(runs: Sequence[Run], chosen: Collection[str]) -> list[list[Run]]:
    """Return the runs of each model, the newest first; a chosen run stands alone, for its model."""
    replaced = {run.spec.model for run in runs if run.id in chosen}
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.id in chosen:
            groups[run.id] = [run]
        elif run.spec.model not in replaced:
            groups.setdefault(run.spec.model, []).append(run)
    return list(groups.values())


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


def _by_value(
    matching: sa.Select[Any], metric: str, highest: bool
) -> tuple[sa.ColumnElement[Any], sa.Select[Any]]:
    """Return the value by which samples are ordered, ascending, and the query with the scores joined."""
    scored = t.score.alias("scored")
    c, s = scored.c, t.sample.c
    of_metric = sa.and_(c.run_key == s.run_key, c.sequence == s.sequence, c.metric == metric)
    return (-c.value if highest else c.value), matching.join(scored, of_metric)


class _Ordered:
    """Sequences of a query in the order of ``place``, then of the sequence: those behind or before one."""

    def __init__(
        self, connection: sa.Connection, matching: sa.Select[Any], place: sa.ColumnElement[Any]
    ) -> None:
        self._connection, self._matching, self._place = connection, matching, place

    def after(self, sequence: int | None, limit: int) -> list[int]:
        query = self._matching
        if sequence is not None:
            query = query.where(self._key() > self._at(sequence))
        return list(self._connection.scalars(query.order_by(self._place, t.sample.c.sequence).limit(limit)))

    def before(self, sequence: int, limit: int) -> list[int]:
        query = self._matching.where(self._key() < self._at(sequence))
        backwards = query.order_by(self._place.desc(), t.sample.c.sequence.desc()).limit(limit)
        return list(self._connection.scalars(backwards))[::-1]

    def _key(self) -> sa.Tuple:
        return sa.tuple_(self._place, t.sample.c.sequence)

    def _at(self, sequence: int) -> sa.Tuple:
        if self._place is t.sample.c.sequence:
            return sa.tuple_(sa.literal(sequence), sa.literal(sequence))
        at = self._matching.with_only_columns(self._place).where(t.sample.c.sequence == sequence)
        return sa.tuple_(sa.literal(self._connection.scalar(at)), sa.literal(sequence))


def _filters(
    status: str | Sequence[str] | None,
    metric: str | None,
    at_least: float | None,
    at_most: float | None,
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
    return where


def _sample_rows(
    connection: sa.Connection, key: int, sequences: Sequence[int], whole: bool
) -> list[SampleRow]:
    s, i = t.sample.c, t.dataset_sample.c
    columns = (s.sequence, i.sample_id, s.repeat, s.status, s.error, s.cost, s.judge_cost)
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
        matching = matching.where(s.run_key == key, s.sequence.in_(chunk))
        for sequence, sample_id, repeat, status, error, *costs, question, reply in connection.execute(
            matching
        ):
            values = scores.get(sequence, {})
            if whole:
                answer = unpack(reply, Payload).answer
                reply = answer.reply if answer else ""
            rows.append(
                SampleRow(sequence, sample_id, repeat, Status(status), question, reply, error, values, *costs)
            )
    place = {sequence: n for n, sequence in enumerate(sequences)}
    return sorted(rows, key=lambda row: place[row.sequence])
