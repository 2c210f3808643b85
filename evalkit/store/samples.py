"""The samples of a run: written in batches, a transaction each; read for resume, rescore and export."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.store import schema as t
from evalkit.store.codec import EXCERPT, Payload, pack, pack_sample, plain_text, unpack
from evalkit.store.database import Database, insert, insert_missing
from evalkit.store.records import Column, SampleRecord, Tokens
from evalkit.store.runs import Runs, chunks
from evalkit.types import Image, Sample, Score, Status

S = TypeVar("S")
P = TypeVar("P")

MOST_SLICES = 100
"""Something that has more values than this is no grouping (an id, a date) and makes no slices."""


class _Slices(msgspec.Struct):
    """The one field of a sample that ``slices`` is about."""

    slices: dict[str, str] = {}


class Samples:
    """What the samples of a run were, and what became of them."""

    def __init__(self, database: Database, runs: Runs) -> None:
        self._database, self._runs = database, runs

    def write(self, run_id: str, records: Sequence[SampleRecord]) -> None:
        """Commit samples in one transaction. One that is there already is replaced, with its scores."""
        images: dict[str, Image] = {}
        latest = {record.sequence: record for record in records}  # the last one wins, should one come twice
        dataset = {record.sequence: _dataset_row(record.sample, images) for record in records}
        payloads = {record.sequence: _payload(record, images) for record in records}
        with self._database.writing() as connection:
            key = self._runs.row(connection, run_id).key
            _store_images(connection, images)
            for some in chunks(dataset):
                ids = _dataset_ids(connection, [dataset[sequence] for sequence in some])
                self._replace(connection, key, [latest[sequence] for sequence in some], dataset, ids)
                bodies = [
                    {"run_key": key, "sequence": sequence, "body": payloads[sequence]} for sequence in some
                ]
                insert(connection, t.payload, bodies)

    def _replace(
        self,
        connection: sa.Connection,
        key: int,
        records: Sequence[SampleRecord],
        dataset: Mapping[int, Mapping[str, Any]],
        ids: Mapping[str, int],
    ) -> None:
        s, sequences = t.sample.c, [record.sequence for record in records]
        connection.execute(t.sample.delete().where(s.run_key == key, s.sequence.in_(sequences)))
        rows = [_sample_row(key, record, ids[dataset[record.sequence]["digest"]]) for record in records]
        try:
            insert(connection, t.sample, rows)
        except sa.exc.IntegrityError as error:
            raise StoreError(
                f"{self._database.name}: a sample is already in this run at another place: the data set "
                "holds the same sample twice, or it has changed since the run began. Start a new run"
            ) from error
        _insert_scores(connection, key, {record.sequence: record.scores for record in records})

    def replace_scores(self, run_id: str, scores: Mapping[int, Sequence[Score]]) -> None:
        """Give samples new scores instead of all those they had, in one transaction."""
        with self._database.writing() as connection:
            key = self._runs.row(connection, run_id).key
            for some in chunks(scores):
                here = t.score.c.run_key == key
                connection.execute(t.score.delete().where(here, t.score.c.sequence.in_(some)))
                _insert_scores(connection, key, {n: scores[n] for n in some})

    def done(self, run_id: str) -> set[int]:
        """The sequences that need no new call: all that ended otherwise than in an error."""
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            s = t.sample.c
            return set(
                connection.scalars(sa.select(s.sequence).where(s.run_key == key, s.status != Status.ERROR))
            )

    def lengths(self, run_id: str) -> dict[str, float]:
        """Completion tokens of one call, by sample id, for the samples that had any."""
        s = t.sample.c
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            query = sa.select(t.dataset_sample.c.sample_id, s.completion_tokens, s.calls).select_from(
                t.sample.join(t.dataset_sample)
            )
            rows = connection.execute(query.where(s.run_key == key, s.calls > 0, s.completion_tokens > 0))
            return {row.sample_id: row.completion_tokens / row.calls for row in rows}

    def counts(self, run_id: str) -> dict[str, int]:
        """How many samples ended in each status."""
        s = t.sample.c
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            query = (
                sa.select(s.status, sa.func.count().label("n"))
                .where(s.run_key == key)
                .group_by(s.status)
                .order_by(s.status)
            )
            return {row.status: row.n for row in connection.execute(query)}

    def scores(
        self, run_id: str, metrics: Collection[str] | None = None
    ) -> dict[str, list[tuple[int, str, float | None]]]:
        """For each metric ``(sequence, cluster, value)``, by sequence; what runs are compared by. Only
        ``metrics``, where they are named.

        The cluster is the sample's id where it names none. A value of None: the metric itself failed. Samples
        that the metric does not apply to, and samples that ended in an error, are not in the list.
        """
        found: dict[str, list[tuple[int, str, float | None]]] = {}
        for metric, sequence, cluster, value in self._scored(run_id, metrics):
            found.setdefault(metric, []).append((sequence, cluster, value))
        return found

    def unscored(self, run_id: str) -> dict[str, tuple[int, str]]:
        """The metrics that failed: on how many samples, and what one of them said."""
        c = t.score.c
        query = sa.select(c.metric, sa.func.count(), sa.func.min(c.error)).group_by(c.metric)
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(query.where(c.run_key == key, c.error.is_not(None)))
            return {metric: (n, said) for metric, n, said in rows}

    def columns(self, run_id: str, metrics: Collection[str] | None = None) -> dict[str, Column]:
        """The same as numbers, for any number of samples; what estimates and differences are made from."""
        found: dict[str, Column] = {}
        for metric, sequence, cluster, value in self._scored(run_id, metrics):
            if (column := found.get(metric)) is None:
                column = found[metric] = Column()
            column.sequences.append(sequence)
            column.clusters.append(hash(cluster))
            column.values.append(math.nan if value is None else value)
        return found

    def _scored(
        self, run_id: str, metrics: Collection[str] | None = None
    ) -> Iterator[tuple[str, int, str, float | None]]:
        c = t.score.c
        join = t.score.join(t.sample).join(t.dataset_sample)
        query = sa.select(c.metric, c.sequence, t.dataset_sample.c.cluster, c.value).select_from(join)
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            wanted = query.where(c.run_key == key, sa.or_(c.value.is_not(None), c.error.is_not(None)))
            if metrics is not None:
                wanted = wanted.where(c.metric.in_(metrics))
            yield from connection.execute(_in_pieces(wanted.order_by(c.sequence)))

    def names(self, run_id: str) -> dict[int, tuple[str, int]]:
        """The sample's id and the number of its repeat, by sequence: what two runs are paired by."""
        query = sa.select(t.sample.c.sequence, t.dataset_sample.c.sample_id, t.sample.c.repeat).join(
            t.dataset_sample
        )
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(query.where(t.sample.c.run_key == key))
            return {sequence: (sample_id, repeat) for sequence, sample_id, repeat in rows}

    def slices(self, run_id: str) -> dict[str, array[int]]:
        """The sequences of each slice, in order, by ``name=value``."""
        found: dict[str, dict[str, array[int]]] = {}
        query = (
            sa.select(t.sample.c.sequence, t.dataset_sample.c.body)
            .join(t.dataset_sample)
            .order_by(t.sample.c.sequence)
        )
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            for sequence, body in connection.execute(_in_pieces(query.where(t.sample.c.run_key == key))):
                for name, value in unpack(body, _Slices).slices.items():
                    values = found.setdefault(name, {})
                    if (
                        value in values or len(values) <= MOST_SLICES
                    ):  # one too many tells that it is too many
                        values.setdefault(value, array("q")).append(sequence)
        return {
            f"{name}={value}": members
            for name, values in found.items()
            if len(values) <= MOST_SLICES
            for value, members in values.items()
        }

    def parts(
        self, run_id: str, sample: type[S], payload: type[P]
    ) -> Iterator[tuple[int, tuple[str, int], S, P]]:
        """Of each sample its sequence, its id and repeat, and parts of its ``Sample`` and its ``Payload``:
        those fields, nested ones too, that the given kinds of ``Struct`` have. Cheaper than ``records``.
        """
        s, i = t.sample.c, t.dataset_sample.c
        query = sa.select(s.sequence, i.sample_id, s.repeat, i.body, t.payload.c.body.label("payload"))
        query = query.select_from(t.sample.join(t.dataset_sample).join(t.payload)).order_by(s.sequence)
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(query.where(s.run_key == key).execution_options(yield_per=100))
            for sequence, sample_id, repeat, body, packed in rows:
                yield sequence, (sample_id, repeat), unpack(body, sample), unpack(packed, payload)

    def records(self, run_id: str, *, sequences: Iterable[int] | None = None) -> Iterator[SampleRecord]:
        """Whole samples by sequence, some hundred in memory at a time; all of them, or only ``sequences``.

        No transaction stays open between two of them: the run may be written to meanwhile.
        """
        if sequences is not None:
            for some in chunks(sorted(set(sequences)), 100):
                yield from self._records(run_id, t.sample.c.sequence.in_(some), 100)
            return
        batch = self._records(run_id, sa.true(), 100)
        while batch:
            yield from batch
            batch = self._records(run_id, t.sample.c.sequence > batch[-1].sequence, 100)

    def get(self, run_id: str, sequence: int) -> SampleRecord:
        """One sample. Raises ``StoreError`` where the run has none at this place."""
        found = self._records(run_id, t.sample.c.sequence == sequence, 1)
        if not found:
            raise StoreError(f"run {run_id} has no sample {sequence}")
        return found[0]

    def _records(self, run_id: str, where: sa.ColumnElement[bool], limit: int) -> list[SampleRecord]:
        query = (
            sa.select(t.sample, t.dataset_sample.c.body, t.payload.c.body.label("payload"))
            .join(t.dataset_sample)
            .join(t.payload)
        )
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            query = query.where(t.sample.c.run_key == key, where).order_by(t.sample.c.sequence).limit(limit)
            rows = connection.execute(query).all()
            scores = _scores_of(connection, key, [row.sequence for row in rows])
            samples = [_with_images(connection, unpack(row.body, Sample)) for row in rows]
        return [_record(row, it, scores.get(row.sequence, [])) for row, it in zip(rows, samples, strict=True)]


def _in_pieces(query: sa.Select[Any]) -> sa.Select[Any]:
    """A query whose rows are fetched some at a time, also from a server."""
    return query.execution_options(yield_per=1000)


def _dataset_row(sample: Sample, images: dict[str, Image]) -> dict[str, Any]:
    images.update((image.sha256, image) for image in sample.images)
    digest, body = pack_sample(sample)
    return {
        "digest": digest,
        "sample_id": plain_text(sample.id),
        "cluster": plain_text(sample.cluster or sample.id),
        "question": plain_text(sample.input),
        "body": body,
    }


def _payload(record: SampleRecord, images: dict[str, Image]) -> bytes:
    images.update((image.sha256, image) for image in record.images)
    return pack(Payload(record.answer, record.requests))


def _store_images(connection: sa.Connection, images: Mapping[str, Image]) -> None:
    for some in chunks(images):
        known = set(connection.scalars(sa.select(t.blob.c.sha256).where(t.blob.c.sha256.in_(some))))
        rows = []
        for sha256 in set(some) - known:
            try:
                data = images[sha256].read()
            except OSError:
                continue  # the file is gone: the sample's own error says so, and its hash stays
            rows.append({"sha256": sha256, "media_type": images[sha256].media_type, "data": data})
        insert_missing(connection, t.blob, rows)


def _dataset_ids(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    insert_missing(connection, t.dataset_sample, rows)
    wanted = t.dataset_sample.c.digest.in_([row["digest"] for row in rows])
    return dict(
        connection.execute(sa.select(t.dataset_sample.c.digest, t.dataset_sample.c.id).where(wanted)).all()
    )


def _sample_row(key: int, record: SampleRecord, dataset_id: int) -> dict[str, Any]:
    return {
        "run_key": key,
        "sequence": record.sequence,
        "dataset_sample_id": dataset_id,
        "repeat": record.repeat,
        "status": str(record.status),
        "prompt_tokens": record.tokens.prompt,
        "completion_tokens": record.tokens.completion,
        "cached_tokens": record.tokens.cached,
        "reasoning_tokens": record.tokens.reasoning,
        "calls": record.calls,
        "calls_from_cache": record.calls_from_cache,
        "latency_s": record.latency_s,
        "error": None if record.error is None else plain_text(record.error),
        "excerpt": plain_text(record.answer.reply[:EXCERPT] if record.answer else ""),
    }


def _insert_scores(connection: sa.Connection, key: int, scores: Mapping[int, Sequence[Score]]) -> None:
    rows = [
        {"run_key": key, "sequence": n, "metric": s.metric, "value": value, "error": error}
        for n, some in scores.items()
        for s in some
        for value, error in [_checked(s)]
    ]
    insert(connection, t.score, rows)


def _checked(score: Score) -> tuple[float | None, str | None]:
    if score.value is not None and math.isnan(score.value):  # SQLite would make it NULL: "does not apply"
        return None, score.error or "the metric's value is not a number (NaN)"
    return score.value, None if score.error is None else plain_text(score.error)


def _scores_of(connection: sa.Connection, key: int, sequences: Sequence[int]) -> dict[int, list[Score]]:
    c = t.score.c
    query = sa.select(c.sequence, c.metric, c.value, c.error).where(
        c.run_key == key, c.sequence.in_(sequences)
    )
    found: dict[int, list[Score]] = {}
    for sequence, metric, value, error in connection.execute(query.order_by(c.sequence, c.metric)):
        found.setdefault(sequence, []).append(Score(metric, value, error))
    return found


def _with_images(connection: sa.Connection, sample: Sample) -> Sample:
    if not sample.images:
        return sample
    wanted = t.blob.c.sha256.in_([image.sha256 for image in sample.images])
    query = sa.select(t.blob.c.sha256, t.blob.c.data).where(wanted)
    data = {row.sha256: row.data for row in connection.execute(query)}
    images = tuple(msgspec.structs.replace(image, data=data.get(image.sha256)) for image in sample.images)
    return msgspec.structs.replace(sample, images=images)


def _record(row: Any, sample: Sample, scores: Sequence[Score]) -> SampleRecord:
    payload = unpack(row.payload, Payload)
    return SampleRecord(
        sequence=row.sequence,
        sample=sample,
        repeat=row.repeat,
        status=Status(row.status),
        answer=payload.answer,
        requests=payload.requests,
        scores=tuple(scores),
        error=row.error,
        tokens=Tokens(row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens),
        calls=row.calls,
        calls_from_cache=row.calls_from_cache,
        latency_s=row.latency_s,
    )
