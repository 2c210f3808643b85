"""The runs of a store: begin, claim for one process, keep alive by a heartbeat, finish, find."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from evalkit.errors import StoreError, UsageError, did_you_mean
from evalkit.store import schema as t
from evalkit.store.codec import pack, plain_text, unpack
from evalkit.store.database import Database, insert_missing
from evalkit.store.records import MetricInfo, Run, RunSpec, RunStatus, Tokens
from evalkit.types import Estimate
from evalkit.util.process import is_alive, this_process

T = TypeVar("T")

MOST_TOKENS_OF_SAMPLE = 2**31 - 1  # what a column of PostgreSQL's type INTEGER holds


class Totals(msgspec.Struct, frozen=True):
    """Counts over the samples of a run."""

    counts: dict[str, int] = {}
    tokens: Tokens = Tokens()
    calls: int = 0
    calls_from_cache: int = 0
    cut_in_reasoning: int = 0
    cost: float | None = None
    judge_cost: float | None = None


class Runs:
    """The runs of a store, without their samples."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, spec: RunSpec) -> None:
        """Add a run, owned by this process. Raises ``StoreError`` if its id exists already."""
        with self._database.writing() as connection:
            if connection.scalar(sa.select(t.run.c.key).where(t.run.c.id == spec.id)) is not None:
                raise StoreError(
                    f"run {spec.id} is already in the store; `evalkit resume {spec.id}` goes on with it"
                )
            now = time.time()
            connection.execute(
                t.run.insert().values(
                    id=spec.id,
                    task_id=_id_of_name(connection, t.task, spec.task),
                    model_id=_id_of_name(connection, t.model, plain_text(spec.model)),
                    status="running",
                    started=now,
                    heartbeat=now,
                    owner=this_process(),
                    wall_s=0.0,
                    n_expected=spec.n_expected,
                    dataset=spec.dataset,
                    spec=pack(spec),
                )
            )

    def __contains__(self, run_id: str) -> bool:
        """Return whether a run has exactly this id."""
        with self._database.reading() as connection:
            return connection.scalar(sa.select(t.run.c.key).where(t.run.c.id == run_id)) is not None

    def discard(self, run_id: str) -> None:
        """Remove a run, unless a sample of the run is stored."""
        with self._database.writing() as connection:
            key = self.row(connection, run_id).key
            if not _totals(connection, [key]):
                connection.execute(t.run_metric.delete().where(t.run_metric.c.run_key == key))
                connection.execute(t.run.delete().where(t.run.c.key == key))

    def claim(self, run_id: str) -> None:
        """Make this process the owner of a run. Raises ``StoreError`` if another live process owns it."""
        with self._database.writing() as connection:
            row = self.row(connection, run_id)
            if row.owner and row.owner != this_process() and is_alive(row.owner, row.heartbeat):
                raise StoreError(
                    f"run {run_id} is held by another process ({row.owner}); wait for it or stop it"
                )
            values = {"status": "running", "ended": None, "totals": None}
            self._update(connection, run_id, owner=this_process(), heartbeat=time.time(), **values)

    def heartbeat(self, run_id: str) -> None:
        """Record that this process still works on the run. Raises ``StoreError`` if another owns it now."""
        with self._database.writing() as connection:
            row = self.row(connection, run_id)
            if row.owner != this_process():
                raise StoreError(f"run {run_id} was taken over by another process ({row.owner})")
            self._update(connection, run_id, heartbeat=time.time())

    def set_metrics(self, run_id: str, metrics: Sequence[MetricInfo], added: Sequence[str]) -> None:
        """Replace the run's list of metrics, which a rescore may change.

        ``added`` are the expressions of metrics that are not the task's own.
        """
        with self._database.writing() as connection:
            spec = unpack(self.row(connection, run_id).spec, RunSpec)
            reproduction = msgspec.structs.replace(spec.reproduction, metrics=tuple(added))
            spec = msgspec.structs.replace(spec, metrics=tuple(metrics), reproduction=reproduction)
            self._update(connection, run_id, spec=pack(spec))

    def add_provenance(self, run_id: str, **facts: Any) -> None:
        """Add facts that became known during the run, such as the index that was searched."""
        with self._database.writing() as connection:
            spec = unpack(self.row(connection, run_id).spec, RunSpec)
            spec = msgspec.structs.replace(spec, provenance=spec.provenance | facts)
            self._update(connection, run_id, spec=pack(spec))

    def annotate(self, run_id: str, *, label: str | None = None, hidden: bool | None = None) -> None:
        """Give a run a label, or hide it from the leaderboard; None leaves a note as it is."""
        notes = {"label": label, "hidden": hidden}
        with self._database.writing() as connection:
            spec = unpack(self.row(connection, run_id).spec, RunSpec)
            spec = msgspec.structs.replace(spec, **{k: v for k, v in notes.items() if v is not None})
            self._update(connection, run_id, spec=pack(spec))

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        metrics: Mapping[str, Estimate],
        wall_s: float,
        slices: Mapping[str, Mapping[str, Estimate]] | None = None,
    ) -> None:
        """End a run and replace its estimates, over all samples and by slice.

        ``wall_s`` is the duration in seconds, of all sessions together.
        """
        with self._database.writing() as connection:
            row = self.row(connection, run_id)
            totals = _totals(connection, [row.key]).get(row.key, Totals())
            values = {"status": status, "wall_s": wall_s, "owner": None, "totals": pack(totals)}
            self._update(connection, run_id, ended=row.ended or time.time(), **values)
            connection.execute(t.run_metric.delete().where(t.run_metric.c.run_key == row.key))
            parts = {"": metrics, **(slices or {})}
            rows = [
                _estimate_row(row.key, part, name, estimate)
                for part, estimates in parts.items()
                for name, estimate in estimates.items()
            ]
            if rows:
                connection.execute(t.run_metric.insert(), rows)

    def get(self, run_id: str) -> Run:
        """Return the run with this id or unique prefix, or the newest (``latest``). Raises ``UsageError``."""
        newest = sa.select(t.run.c.id).order_by(t.run.c.started.desc(), t.run.c.key.desc())
        with self._database.reading() as connection:
            if run_id == "latest":
                ids = list(connection.scalars(newest.limit(1)))
            else:
                ids = list(connection.scalars(newest.where(t.run.c.id == run_id)))
                ids = ids or list(
                    connection.scalars(newest.where(t.run.c.id.startswith(run_id, autoescape=True)))
                )
            if len(ids) == 1 and run_id:
                return _with_slices(connection, self._load(connection, t.run.c.id == ids[0])[0])
            all_ids = list(connection.scalars(newest.limit(1000)))
        if not all_ids:
            raise UsageError(
                f"{self._database.name}: the store holds no run yet. "
                "`evalkit run TASK --model MODEL` makes one"
            )
        if len(ids) > 1:
            raise UsageError(f"run {run_id!r} could be any of {', '.join(ids[:10])}; give more of its id")
        raise UsageError(f"no run {run_id!r}.{did_you_mean(run_id, all_ids)} `evalkit show` lists the runs")

    def find(
        self,
        *,
        task: str | None = None,
        model: str | None = None,
        status: RunStatus | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Return runs, the newest first. ``task``: ``name[k=5]`` for one variant, ``name`` for all."""
        where = []
        if task is not None:
            where.append(sa.or_(t.task.c.name == task, t.task.c.name.startswith(f"{task}[", autoescape=True)))
        if model is not None:
            where.append(t.model.c.name == plain_text(model))
        if status is not None:
            where.append(t.run.c.status == status)
        with self._database.reading() as connection:
            return self._load(connection, *where, limit=limit)

    def _load(
        self, connection: sa.Connection, *where: sa.ColumnElement[bool], limit: int | None = None
    ) -> list[Run]:
        query = sa.select(t.run).join(t.task).join(t.model).where(*where)
        rows = connection.execute(
            query.order_by(t.run.c.started.desc(), t.run.c.key.desc()).limit(limit)
        ).all()
        totals = _totals(connection, [row.key for row in rows if row.totals is None])
        metrics = _estimates(connection, [row.key for row in rows])
        return [_run(row, totals.get(row.key, Totals()), metrics.get(row.key, {})) for row in rows]

    def row(self, connection: sa.Connection, run_id: str) -> Any:
        """Return the run's row. Raises ``StoreError`` where there is none."""
        row = connection.execute(sa.select(t.run).where(t.run.c.id == run_id)).first()
        if row is None:
            raise StoreError(f"{self._database.name}: no run {run_id!r}")
        return row

    def _update(self, connection: sa.Connection, run_id: str, **values: Any) -> None:
        if connection.execute(t.run.update().where(t.run.c.id == run_id).values(**values)).rowcount == 0:
            raise StoreError(f"{self._database.name}: no run {run_id!r}")


def chunks(values: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Yield lists of at most ``size`` values, short enough for an SQL ``IN``."""
    listed = list(values)
    return (listed[i : i + size] for i in range(0, len(listed), size))


def _id_of_name(connection: sa.Connection, table: sa.Table, name: str) -> int:
    insert_missing(connection, table, [{"name": name}])
    return int(connection.execute(sa.select(table.c.id).where(table.c.name == name)).scalar_one())


def _run(row: Any, counted: Totals, metrics: dict[str, Estimate]) -> Run:
    spec = msgspec.structs.replace(unpack(row.spec, RunSpec), n_expected=row.n_expected, dataset=row.dataset)
    totals = counted if row.totals is None else unpack(row.totals, Totals)
    return Run(
        spec=spec,
        status=_status(row),
        started=row.started,
        ended=row.ended,
        heartbeat=row.heartbeat,
        wall_s=row.wall_s,
        n=sum(totals.counts.values()),
        counts=totals.counts,
        metrics={info.name: metrics.pop(info.name) for info in spec.metrics if info.name in metrics}
        | metrics,
        tokens=totals.tokens,
        calls=totals.calls,
        calls_from_cache=totals.calls_from_cache,
        cut_in_reasoning=totals.cut_in_reasoning,
        cost=totals.cost,
        judge_cost=totals.judge_cost,
    )


def _status(row: Any) -> RunStatus:
    """Return a run's status: a run whose process is gone without a word (``kill -9``) is interrupted."""
    status: RunStatus = row.status
    left = status == "running" and row.owner and not is_alive(row.owner, row.heartbeat)
    return "interrupted" if left else status


def _totals(connection: sa.Connection, keys: Sequence[int]) -> dict[int, Totals]:
    """Count the samples of runs: of those under way, and once when a run ends."""
    s = t.sample.c
    counts = (s.prompt_tokens, s.completion_tokens, s.cached_tokens, s.reasoning_tokens, s.cache_write_tokens)
    sums = [sa.func.sum(c) for c in (*map(plausible, counts), s.calls, s.calls_from_cache)]
    cut = sa.func.count(sa.case((s.cut == "reasoning", 1)))
    columns = (s.run_key, s.status, sa.func.count(), *sums, cut, *map(_whole_sum, (s.cost, s.judge_cost)))
    totals: dict[int, Totals] = {}
    for chunk in chunks(keys):
        query = (
            sa.select(*columns).where(s.run_key.in_(chunk)).group_by(s.run_key, s.status).order_by(s.status)
        )
        for key, status, n, *sums_of_status in connection.execute(query):
            *tokens, calls, from_cache, in_reasoning, cost, judge_cost = sums_of_status
            part = Totals(
                {status: n},
                Tokens(*map(int, tokens)),
                int(calls),
                int(from_cache),
                in_reasoning,
                cost,
                judge_cost,
            )
            totals[key] = _added(totals[key], part) if key in totals else part
    return totals


def _whole_sum(column: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    """Return the sum of a column; NULL where one of its values is NULL."""
    return sa.case((sa.func.count() == sa.func.count(column), sa.func.sum(column)))


def _added(first: Totals, second: Totals) -> Totals:
    def both(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else a + b

    tokens = zip(msgspec.structs.astuple(first.tokens), msgspec.structs.astuple(second.tokens), strict=True)
    return Totals(
        first.counts | second.counts,
        Tokens(*map(sum, tokens)),
        first.calls + second.calls,
        first.calls_from_cache + second.calls_from_cache,
        first.cut_in_reasoning + second.cut_in_reasoning,
        both(first.cost, second.cost),
        both(first.judge_cost, second.judge_cost),
    )


def plausible(tokens: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """Return a column of token counts, 0 for those that cannot be one: SQLite could not hold their sum."""
    return sa.case((tokens.between(0, MOST_TOKENS_OF_SAMPLE), tokens), else_=0)


def _estimate_row(key: int, part: str, name: str, estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.bounds or (None, None)
    return {
        "run_key": key,
        "metric": name,
        "slice": plain_text(part),
        "n": estimate.n,
        "value": estimate.value,
        "se": estimate.se,
        "ci_low": estimate.ci[0],
        "ci_high": estimate.ci[1],
        "method": estimate.method,
        "clusters": estimate.clusters,
        "level": estimate.level,
        "bound_low": low,
        "bound_high": high,
    }


def _estimates(connection: sa.Connection, keys: Sequence[int]) -> dict[int, dict[str, Estimate]]:
    estimates: dict[int, dict[str, Estimate]] = {}
    m = t.run_metric.c
    for chunk in chunks(keys):
        for row in connection.execute(sa.select(t.run_metric).where(m.run_key.in_(chunk), m.slice == "")):
            estimates.setdefault(row.run_key, {})[row.metric] = _estimate(row)
    return estimates


def _with_slices(connection: sa.Connection, run: Run) -> Run:
    m = t.run_metric.c
    query = sa.select(t.run_metric).join(t.run).where(t.run.c.id == run.id, m.slice != "").order_by(m.slice)
    slices: dict[str, dict[str, Estimate]] = {}
    for row in connection.execute(query):
        slices.setdefault(row.slice, {})[row.metric] = _estimate(row)
    order = [info.name for info in run.spec.metrics]
    for name, estimates in slices.items():
        slices[name] = {metric: estimates[metric] for metric in [*order, *estimates] if metric in estimates}
    return msgspec.structs.replace(run, slices=slices)


def _estimate(row: Any) -> Estimate:
    return Estimate(
        value=_number(row.value),
        se=_number(row.se),
        ci=(_number(row.ci_low), _number(row.ci_high)),
        n=row.n,
        method=row.method,
        clusters=row.clusters,
        level=row.level,
        bounds=None if row.bound_low is None else (row.bound_low, row.bound_high),
    )


def _number(stored: float | None) -> float:
    """Return a stored number; SQLite stores NaN as NULL."""
    return float("nan") if stored is None else stored
