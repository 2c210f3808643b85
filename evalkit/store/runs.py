"""The life of a run: begun, claimed by one process at a time, kept alive by a heartbeat, finished, found."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from evalkit.errors import StoreError, UsageError, did_you_mean
from evalkit.store import schema as t
from evalkit.store.codec import pack, unpack
from evalkit.store.database import Database, insert_missing
from evalkit.store.records import MetricInfo, Run, RunSpec, RunStatus, Tokens
from evalkit.types import Estimate

T = TypeVar("T")

STALE_S = 30.0
"""A run of another machine whose heartbeat is older than this may be taken over."""


class Totals(msgspec.Struct, frozen=True):
    """What is counted over the samples of a run."""

    counts: dict[str, int] = {}
    tokens: Tokens = Tokens()
    calls: int = 0
    calls_from_cache: int = 0


class Runs:
    """Runs, without their samples."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, spec: RunSpec) -> None:
        """Add a run, held by this process. Raises ``StoreError`` if there is one of this id."""
        with self._database.writing() as connection:
            if connection.scalar(sa.select(t.run.c.key).where(t.run.c.id == spec.id)) is not None:
                raise StoreError(
                    f"run {spec.id} is already in the store; `evalkit resume {spec.id}` goes on with it"
                )
            now = time.time()
            connection.execute(
                t.run.insert().values(
                    id=spec.id,
                    task_id=_named(connection, t.task, spec.task),
                    model_id=_named(connection, t.model, spec.model),
                    status="running",
                    started=now,
                    heartbeat=now,
                    owner=_this_process(),
                    wall_s=0.0,
                    n_expected=spec.n_expected,
                    dataset=spec.dataset,
                    spec=pack(spec),
                )
            )

    def __contains__(self, run_id: str) -> bool:
        """Return whether there is a run of exactly this id."""
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
        """Take a run for this process, to go on with it. Raises ``StoreError`` if a live process has it."""
        with self._database.writing() as connection:
            row = self.row(connection, run_id)
            if row.owner and row.owner != _this_process() and _alive(row.owner, row.heartbeat):
                raise StoreError(
                    f"run {run_id} is held by another process ({row.owner}); wait for it or stop it"
                )
            values = {"status": "running", "ended": None, "totals": None}
            self._update(connection, run_id, owner=_this_process(), heartbeat=time.time(), **values)

    def heartbeat(self, run_id: str) -> None:
        """Say that this process still works on the run. Raises ``StoreError`` if another has taken it."""
        with self._database.writing() as connection:
            row = self.row(connection, run_id)
            if row.owner != _this_process():
                raise StoreError(f"run {run_id} was taken over by another process ({row.owner})")
            self._update(connection, run_id, heartbeat=time.time())

    def set_metrics(self, run_id: str, metrics: Sequence[MetricInfo], added: Sequence[str]) -> None:
        """Replace what the run says about its metrics: a rescore may bring others than the run began with.

        ``added`` are those that are not the task's own.
        """
        with self._database.writing() as connection:
            spec = unpack(self.row(connection, run_id).spec, RunSpec)
            reproduction = msgspec.structs.replace(spec.reproduction, metrics=tuple(added))
            spec = msgspec.structs.replace(spec, metrics=tuple(metrics), reproduction=reproduction)
            self._update(connection, run_id, spec=pack(spec))

    def add_provenance(self, run_id: str, **facts: Any) -> None:
        """Add facts that were known only once the run was under way, such as the index that was searched."""
        with self._database.writing() as connection:
            spec = unpack(self.row(connection, run_id).spec, RunSpec)
            whole = {**spec.provenance, **facts}
            self._update(connection, run_id, spec=pack(msgspec.structs.replace(spec, provenance=whole)))

    def finish(
        self,
        run_id: str,
        status: RunStatus,
        metrics: Mapping[str, Estimate],
        wall_s: float,
        slices: Mapping[str, Mapping[str, Estimate]] | None = None,
    ) -> None:
        """End a run; its estimates, whole and by slice, replace those it had.

        ``wall_s``: seconds, all sittings together.
        """
        with self._database.writing() as connection:
            row = self.row(connection, run_id)
            totals = _totals(connection, [row.key]).get(row.key, Totals())
            values = {"status": status, "wall_s": wall_s, "owner": None, "totals": pack(totals)}
            self._update(connection, run_id, ended=row.ended or time.time(), **values)
            connection.execute(t.run_metric.delete().where(t.run_metric.c.run_key == row.key))
            parts = {"": metrics, **(slices or {})}
            rows = [
                _estimate_row(row.key, p, name, e) for p, some in parts.items() for name, e in some.items()
            ]
            if rows:
                connection.execute(t.run_metric.insert(), rows)

    def get(self, run_id: str) -> Run:
        """The run of this id, or the only one that begins so; ``latest``: the newest. Or ``UsageError``."""
        newest = sa.select(t.run.c.id).order_by(t.run.c.started.desc(), t.run.c.key.desc())
        with self._database.reading() as connection:
            if run_id == "latest":
                found = list(connection.scalars(newest.limit(1)))
            else:
                found = list(connection.scalars(newest.where(t.run.c.id == run_id)))
                found = found or list(
                    connection.scalars(newest.where(t.run.c.id.startswith(run_id, autoescape=True)))
                )
            if len(found) == 1 and run_id:
                return _with_slices(connection, self._load(connection, t.run.c.id == found[0])[0])
            known = list(connection.scalars(newest.limit(1000)))
        if not known:
            raise UsageError(
                f"{self._database.name}: the store holds no run yet. "
                "`evalkit run TASK --model MODEL` makes one"
            )
        if len(found) > 1:
            raise UsageError(f"run {run_id!r} could be any of {', '.join(found[:10])}; give more of its id")
        raise UsageError(f"no run {run_id!r}.{did_you_mean(run_id, known)} `evalkit show` lists the runs")

    def find(
        self,
        *,
        task: str | None = None,
        model: str | None = None,
        status: RunStatus | None = None,
        limit: int | None = None,
    ) -> list[Run]:
        """Runs, newest first. ``task``: ``name[k=5]`` for one variant, ``name`` for all of them."""
        where = []
        if task is not None:
            where.append(sa.or_(t.task.c.name == task, t.task.c.name.startswith(f"{task}[", autoescape=True)))
        if model is not None:
            where.append(t.model.c.name == model)
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
        live = _totals(connection, [row.key for row in rows if row.totals is None])
        metrics = _estimates(connection, [row.key for row in rows])
        return [_run(row, live.get(row.key, Totals()), metrics.get(row.key, {})) for row in rows]

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
    """Lists short enough for an SQL ``IN``."""
    whole = list(values)
    return (whole[i : i + size] for i in range(0, len(whole), size))


def _named(connection: sa.Connection, table: sa.Table, name: str) -> int:
    insert_missing(connection, table, [{"name": name}])
    return int(connection.execute(sa.select(table.c.id).where(table.c.name == name)).scalar_one())


def _run(row: Any, live: Totals, metrics: dict[str, Estimate]) -> Run:
    spec = msgspec.structs.replace(unpack(row.spec, RunSpec), n_expected=row.n_expected, dataset=row.dataset)
    totals = live if row.totals is None else unpack(row.totals, Totals)
    return Run(
        spec=spec,
        status=row.status,
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
    )


def _totals(connection: sa.Connection, keys: Sequence[int]) -> dict[int, Totals]:
    """Counted from the samples: for runs that go on, and once when a run ends."""
    s = t.sample.c
    summed = (
        s.prompt_tokens,
        s.completion_tokens,
        s.cached_tokens,
        s.reasoning_tokens,
        s.calls,
        s.calls_from_cache,
    )
    columns = (s.run_key, s.status, sa.func.count(), *(sa.func.sum(column) for column in summed))
    found: dict[int, Totals] = {}
    for some in chunks(keys):
        query = (
            sa.select(*columns).where(s.run_key.in_(some)).group_by(s.run_key, s.status).order_by(s.status)
        )
        for key, status, n, *sums in connection.execute(query):
            prompt, completion, cached, reasoning, calls, from_cache = map(int, sums)
            old = found.get(key, Totals())
            found[key] = Totals(
                old.counts | {status: n},
                Tokens(
                    old.tokens.prompt + prompt,
                    old.tokens.completion + completion,
                    old.tokens.cached + cached,
                    old.tokens.reasoning + reasoning,
                ),
                old.calls + calls,
                old.calls_from_cache + from_cache,
            )
    return found


def _estimate_row(key: int, part: str, name: str, estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.bounds or (None, None)
    return {
        "run_key": key,
        "metric": name,
        "slice": part,
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
    found: dict[int, dict[str, Estimate]] = {}
    m = t.run_metric.c
    for some in chunks(keys):
        for row in connection.execute(sa.select(t.run_metric).where(m.run_key.in_(some), m.slice == "")):
            found.setdefault(row.run_key, {})[row.metric] = _estimate(row)
    return found


def _with_slices(connection: sa.Connection, run: Run) -> Run:
    m = t.run_metric.c
    query = sa.select(t.run_metric).join(t.run).where(t.run.c.id == run.id, m.slice != "").order_by(m.slice)
    slices: dict[str, dict[str, Estimate]] = {}
    for row in connection.execute(query):
        slices.setdefault(row.slice, {})[row.metric] = _estimate(row)
    order = [info.name for info in run.spec.metrics]
    for name, some in slices.items():
        slices[name] = {metric: some[metric] for metric in [*order, *some] if metric in some}
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
    """SQLite keeps NaN as NULL."""
    return float("nan") if stored is None else stored


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}"


def _start_of(pid: int) -> str:
    """Return when a process began, in hundredths of a second after the machine did.

    The time tells the process from a later one of the same number, also where the clock has been set.
    Empty for a process that has ended, or waits for its parent to hear that it has.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return str(round((process.create_time() - psutil.boot_time()) * 100))
    except psutil.Error:
        return ""


def _alive(owner: str, heartbeat: float | None) -> bool:
    """Return whether the process that holds a run still works on it.

    Of a process on this machine the system tells; its heartbeat may be late where a task blocks the event
    loop, or the clock has been set. Of one elsewhere the heartbeat is all there is to see.
    """
    host, pid, start = owner.rsplit(":", 2)
    if host == socket.gethostname() and start:
        return _start_of(int(pid)) == start
    return heartbeat is not None and time.time() - heartbeat <= STALE_S
