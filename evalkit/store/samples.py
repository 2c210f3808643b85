"""The samples of a run: written in batches, one transaction each; read for resume, rescore and export."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.requests import canonical
from evalkit.store import schema as t
from evalkit.store.codec import EXCERPT, Payload, pack, pack_sample, plain_text, unpack
from evalkit.store.database import Database, insert, insert_missing
from evalkit.store.records import Calls, Column, Endings, SampleRecord, Tokens
from evalkit.store.runs import MOST_TOKENS_OF_SAMPLE, Runs, chunks, plausible
from evalkit.store.turns import compacted, expanded
from evalkit.types import Image, Sample, Score, Status

S = TypeVar("S")
P = TypeVar("P")

MOST_SLICES = 100
"""The most values of a grouping. A field with more values (an id, a date) makes no slices."""


class _Slices(msgspec.Struct):
    """The field of a sample that ``Samples.slices`` reads."""

    slices: dict[str, str] = {}


class _Asked(msgspec.Struct):
    """The fields of a sample that decide what is asked and what is right."""

    input: str
    target: str | tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    relevance: dict[str, int] = {}
    images: tuple[Image, ...] = ()


class Samples:
    """The samples of runs with their answers and scores."""

    def __init__(self, database: Database, runs: Runs) -> None:
        self._database, self._runs = database, runs

    def write(self, run_id: str, records: Sequence[SampleRecord]) -> None:
        """Store samples in one transaction, in place of those with the same sequences and their scores."""
        images: dict[str, Image] = {}
        latest = {record.sequence: record for record in records}  # of two with one sequence, the last
        dataset = {record.sequence: _dataset_row(record.sample, images) for record in records}
        payloads = {record.sequence: _payload(record, images) for record in records}
        with self._database.writing() as connection:
            key = self._runs.row(connection, run_id).key
            _store_images(connection, images)
            for chunk in chunks(dataset):
                ids = _dataset_ids(connection, [dataset[sequence] for sequence in chunk])
                self._replace(connection, key, [latest[sequence] for sequence in chunk], dataset, ids)
                bodies = [{"run_key": key, "sequence": n, "body": payloads[n]} for n in chunk]
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
                f"{self._database.name}: a sample is already in this run under another number: the data set "
                "contains the same sample twice, or has changed since the run began. Start a new run"
            ) from error
        _insert_scores(connection, key, {record.sequence: record.scores for record in records})

    def replace_scores(self, run_id: str, scores: Mapping[int, Sequence[Score]]) -> None:
        """Replace all scores of the given samples, in one transaction."""
        with self._database.writing() as connection:
            key = self._runs.row(connection, run_id).key
            for chunk in chunks(scores):
                of_run = t.score.c.run_key == key
                connection.execute(t.score.delete().where(of_run, t.score.c.sequence.in_(chunk)))
                _insert_scores(connection, key, {n: scores[n] for n in chunk})

    def done(self, run_id: str) -> set[int]:
        """Return the sequences that need no new call: those whose status is not ``error``."""
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            s = t.sample.c
            return set(
                connection.scalars(sa.select(s.sequence).where(s.run_key == key, s.status != Status.ERROR))
            )

    def lengths(self, run_id: str) -> dict[str, float]:
        """Return the completion tokens per call by sample id, without samples that have none."""
        s = t.sample.c
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            tokens = plausible(s.completion_tokens).label("completion_tokens")
            query = sa.select(t.dataset_sample.c.sample_id, tokens, s.calls).select_from(
                t.sample.join(t.dataset_sample)
            )
            rows = connection.execute(query.where(s.run_key == key, s.calls > 0, tokens > 0))
            return {row.sample_id: row.completion_tokens / row.calls for row in rows}

    def endings(self, run_id: str) -> Endings:
        """Return length and outcome of each sample that ended without an error, by sequence."""
        s = t.sample.c
        query = sa.select(s.sequence, plausible(s.completion_tokens), s.calls, s.status).order_by(s.sequence)
        endings = Endings()
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            query = query.where(s.run_key == key, s.status != Status.ERROR)
            for sequence, tokens, calls, status in connection.execute(_in_pieces(query)):
                endings.sequences.append(sequence)
                endings.tokens.append(tokens)
                endings.calls.append(calls)
                endings.cut.append(status == Status.TRUNCATED)
                endings.failed.append(Status(status).failed)
        return endings

    def calls(self, run_id: str) -> dict[str, Calls]:
        """Return the calls of each sample by its id, without samples that have no tokens."""
        s = t.sample.c
        columns = (s.calls, *map(plausible, (s.prompt_tokens, s.completion_tokens, s.cached_tokens)))
        query = sa.select(t.dataset_sample.c.sample_id, *columns).select_from(t.sample.join(t.dataset_sample))
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(query.where(s.run_key == key, s.calls > 0, s.completion_tokens > 0))
            return {sample_id: Calls(*map(int, numbers)) for sample_id, *numbers in rows}

    def counts(self, run_id: str) -> dict[str, int]:
        """Return how many samples ended in each status."""
        s = t.sample.c
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            query = sa.select(s.status, sa.func.count().label("n")).where(s.run_key == key)
            rows = connection.execute(query.group_by(s.status).order_by(s.status))
            return {row.status: row.n for row in rows}

    def scores(
        self, run_id: str, metrics: Collection[str] | None = None
    ) -> dict[str, list[tuple[int, str, float | None]]]:
        """Return ``(sequence, cluster, value)`` of each sample by metric: of all metrics, or of ``metrics``.

        The cluster is the sample's id where the sample has no cluster. The value is None where the metric
        failed. Samples without a score and samples that ended in an error are not in the list.
        """
        scores: dict[str, list[tuple[int, str, float | None]]] = {}
        for metric, sequence, cluster, value in self._scored(run_id, metrics):
            scores.setdefault(metric, []).append((sequence, cluster, value))
        return scores

    def unscored(self, run_id: str) -> dict[str, tuple[int, str]]:
        """Return the metrics that failed, each with the number of samples and one of the messages."""
        c = t.score.c
        query = sa.select(c.metric, sa.func.count(), sa.func.min(c.error)).group_by(c.metric)
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(query.where(c.run_key == key, c.error.is_not(None)))
            return {metric: (n, message) for metric, n, message in rows}

    def errors(self, run_id: str) -> dict[str, tuple[int, str]]:
        """Return the kinds of errors that samples ended in, each with their number and the first message."""
        s = t.sample.c
        query = sa.select(s.error).where(s.status == Status.ERROR).order_by(s.sequence)
        kinds: dict[str, tuple[int, str]] = {}
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            for error in connection.scalars(_in_pieces(query.where(s.run_key == key))):
                kind = (error or "").partition(":")[0]
                n, first = kinds.get(kind, (0, error or ""))
                kinds[kind] = n + 1, first
        return kinds

    def columns(self, run_id: str, metrics: Collection[str] | None = None) -> dict[str, Column]:
        """Return the scores as arrays, by metric: the input of estimates and differences."""
        columns: dict[str, Column] = {}
        for metric, sequence, cluster, value in self._scored(run_id, metrics):
            if (column := columns.get(metric)) is None:
                column = columns[metric] = Column()
            column.sequences.append(sequence)
            column.clusters.append(hash(cluster))
            column.values.append(math.nan if value is None else value)
        return columns

    def _scored(
        self, run_id: str, metrics: Collection[str] | None = None
    ) -> Iterator[tuple[str, int, str, float | None]]:
        c = t.score.c
        join = t.score.join(t.sample).join(t.dataset_sample)
        query = sa.select(c.metric, c.sequence, t.dataset_sample.c.cluster, c.value).select_from(join)
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            query = query.where(c.run_key == key, sa.or_(c.value.is_not(None), c.error.is_not(None)))
            if metrics is not None:
                query = query.where(c.metric.in_(metrics))
            yield from connection.execute(_in_pieces(query.order_by(c.sequence)))

    def names(self, run_id: str) -> dict[int, tuple[str, int]]:
        """Return each sample's id and number of repeat, by sequence: the key by which runs are paired."""
        query = sa.select(t.sample.c.sequence, t.dataset_sample.c.sample_id, t.sample.c.repeat).join(
            t.dataset_sample
        )
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(query.where(t.sample.c.run_key == key))
            return {sequence: (sample_id, repeat) for sequence, sample_id, repeat in rows}

    def replies(self, run_id: str) -> dict[int, tuple[str, str]]:
        """Return each sample's status and the beginning of its reply, by sequence."""
        s = t.sample.c
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(
                _in_pieces(sa.select(s.sequence, s.status, s.excerpt).where(s.run_key == key))
            )
            return {sequence: (status, excerpt) for sequence, status, excerpt in rows}

    def questions(self, run_id: str) -> dict[int, bytes]:
        """Return a hash of each sample's question, options, right answers and pictures, by sequence.

        Samples of two runs with equal ids and equal hashes are the same, whatever else was added to them.
        """
        query = sa.select(t.sample.c.sequence, t.dataset_sample.c.body).join(t.dataset_sample)
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            rows = connection.execute(_in_pieces(query.where(t.sample.c.run_key == key)))
            return {sequence: _question_hash(unpack(body, _Asked)) for sequence, body in rows}

    def slices(self, run_id: str) -> dict[str, array[int]]:
        """Return the sequences of each slice, in order, by ``name=value``."""
        by_name: dict[str, dict[str, array[int]]] = {}
        query = (
            sa.select(t.sample.c.sequence, t.dataset_sample.c.body)
            .join(t.dataset_sample)
            .order_by(t.sample.c.sequence)
        )
        with self._database.reading() as connection:
            key = self._runs.row(connection, run_id).key
            for sequence, body in connection.execute(_in_pieces(query.where(t.sample.c.run_key == key))):
                for name, value in unpack(body, _Slices).slices.items():
                    values = by_name.setdefault(name, {})
                    if (
                        value in values or len(values) <= MOST_SLICES
                    ):  # one more shows that there are too many
                        values.setdefault(value, array("q")).append(sequence)
        return {
            f"{name}={value}": members
            for name, values in by_name.items()
            if len(values) <= MOST_SLICES
            for value, members in values.items()
        }

    def parts(
        self, run_id: str, sample: type[S], payload: type[P]
    ) -> Iterator[tuple[int, tuple[str, int], S, P]]:
        """Yield the sequence, the id and repeat, and parts of ``Sample`` and ``Payload`` of each sample.

        The parts are the fields, also nested ones, of the given ``Struct`` classes. Cheaper than ``records``.
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
        """Yield all samples by sequence, or those of ``sequences``, with 100 in memory at a time.

        No transaction stays open between two samples, so that the run can be written meanwhile.
        """
        if sequences is not None:
            for chunk in chunks(sorted(set(sequences)), 100):
                yield from self._records(run_id, t.sample.c.sequence.in_(chunk), 100)
            return
        batch = self._records(run_id, sa.true(), 100)
        while batch:
            yield from batch
            batch = self._records(run_id, t.sample.c.sequence > batch[-1].sequence, 100)

    def get(self, run_id: str, sequence: int) -> SampleRecord:
        """Return one sample. Raises ``StoreError`` where the run has no sample with this sequence."""
        records = self._records(run_id, t.sample.c.sequence == sequence, 1)
        if not records:
            raise StoreError(f"run {run_id} has no sample {sequence}")
        return records[0]

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
        pairs = zip(rows, samples, strict=True)
        return [_record(row, sample, scores.get(row.sequence, [])) for row, sample in pairs]


def _question_hash(asked: _Asked) -> bytes:
    pictures = [image.sha256 for image in asked.images]
    plain = canonical([asked.input, asked.target, asked.choices, asked.relevance, pictures])
    return hashlib.sha256(plain).digest()


def _in_pieces(query: sa.Select[Any]) -> sa.Select[Any]:
    """Return the query so that its rows are fetched 1000 at a time, also from a server."""
    return query.execution_options(yield_per=1000)


def _dataset_row(sample: Sample, images: dict[str, Image]) -> dict[str, Any]:
    images.update((image.sha256, image) for image in sample.images)
    digest, body = pack_sample(sample)
    sample_id = plain_text(sample.id)
    return {
        "digest": digest,
        "sample_id": sample_id,
        "cluster": plain_text(sample.cluster) if sample.cluster else sample_id,
        "question": plain_text(sample.input),
        "body": body,
    }


def _payload(record: SampleRecord, images: dict[str, Image]) -> bytes:
    images.update((image.sha256, image) for image in record.images)
    return pack(Payload(record.answer, compacted(record.requests)))


def _store_images(connection: sa.Connection, images: Mapping[str, Image]) -> None:
    for chunk in chunks(images):
        stored = set(connection.scalars(sa.select(t.blob.c.sha256).where(t.blob.c.sha256.in_(chunk))))
        rows = []
        for sha256 in set(chunk) - stored:
            try:
                data = images[sha256].read()
            except OSError:
                continue  # the file is gone: the sample's own error says so, and its hash stays
            rows.append({"sha256": sha256, "media_type": images[sha256].media_type, "data": data})
        insert_missing(connection, t.blob, rows)


def _dataset_ids(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    insert_missing(connection, t.dataset_sample, rows)
    of_rows = t.dataset_sample.c.digest.in_([row["digest"] for row in rows])
    return dict(
        connection.execute(sa.select(t.dataset_sample.c.digest, t.dataset_sample.c.id).where(of_rows)).all()
    )


def _sample_row(key: int, record: SampleRecord, dataset_id: int) -> dict[str, Any]:
    return {
        "run_key": key,
        "sequence": record.sequence,
        "dataset_sample_id": dataset_id,
        "repeat": record.repeat,
        "status": str(record.status),
        "prompt_tokens": min(record.tokens.prompt, MOST_TOKENS_OF_SAMPLE),
        "completion_tokens": min(record.tokens.completion, MOST_TOKENS_OF_SAMPLE),
        "cached_tokens": min(record.tokens.cached, MOST_TOKENS_OF_SAMPLE),
        "reasoning_tokens": min(record.tokens.reasoning, MOST_TOKENS_OF_SAMPLE),
        "calls": record.calls,
        "calls_from_cache": record.calls_from_cache,
        "latency_s": record.latency_s,
        "error": None if record.error is None else plain_text(record.error),
        "excerpt": plain_text(record.answer.reply)[:EXCERPT] if record.answer else "",
        "cache_write_tokens": min(record.tokens.cache_write, MOST_TOKENS_OF_SAMPLE),
        "cut": record.cut,
        "cost": record.cost,
        "judge_cost": record.judge_cost,
    }


def _insert_scores(connection: sa.Connection, key: int, scores: Mapping[int, Sequence[Score]]) -> None:
    rows = [
        {"run_key": key, "sequence": sequence, "metric": score.metric, "value": value, "error": error}
        for sequence, scores_of_sample in scores.items()
        for score in scores_of_sample
        for value, error in [_checked(score)]
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
    scores: dict[int, list[Score]] = {}
    for sequence, metric, value, error in connection.execute(query.order_by(c.sequence, c.metric)):
        scores.setdefault(sequence, []).append(Score(metric, value, error))
    return scores


def _with_images(connection: sa.Connection, sample: Sample) -> Sample:
    if not sample.images:
        return sample
    of_sample = t.blob.c.sha256.in_([image.sha256 for image in sample.images])
    query = sa.select(t.blob.c.sha256, t.blob.c.data).where(of_sample)
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
        requests=expanded(payload.requests),
        scores=tuple(scores),
        error=row.error,
        tokens=Tokens(
            row.prompt_tokens,
            row.completion_tokens,
            row.cached_tokens,
            row.reasoning_tokens,
            row.cache_write_tokens,
        ),
        calls=row.calls,
        calls_from_cache=row.calls_from_cache,
        latency_s=row.latency_s,
        cut=row.cut,
        cost=row.cost,
        judge_cost=row.judge_cost,
    )
