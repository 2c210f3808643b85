"""The tables after the last migration. A test compares this file with the migrations.

    task ─┐
    model ┴─ run ─┬─ sample ─┬─ score        one number for each sample and metric
                  │    │     └─ payload      answer and requests, compressed, read one at a time
                  │    └─ dataset_sample     a data set's sample, stored once for all runs
                  └─ run_metric              the estimates that a leaderboard reads
    blob                                     images by the SHA-256 of their bytes

The large tables hold the run's key, which is shorter than its id.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "0003"
"""The newest migration: the schema that this evalkit reads and writes."""

metadata = MetaData()

task = Table(
    "task",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
)

model = Table(
    "model",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
)

run = Table(
    "run",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("task_id", Integer, ForeignKey("task.id"), nullable=False),
    Column("model_id", Integer, ForeignKey("model.id"), nullable=False),
    Column("status", String, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("heartbeat", Float),
    Column("owner", String),  # host:pid:start of the process that works on the run
    Column("wall_s", Float, nullable=False),
    Column("n_expected", Integer),
    Column("dataset", String, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("totals", LargeBinary),  # counts, tokens and calls; only once the run has ended
    Index("ix_run_task_started", "task_id", "started"),
)

dataset_sample = Table(
    "dataset_sample",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String, nullable=False, unique=True),  # of the whole sample, its id included
    Column("sample_id", String, nullable=False),
    Column("cluster", String, nullable=False),
    Column("question", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

sample = Table(
    "sample",
    metadata,
    Column("run_key", Integer, ForeignKey("run.key"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("dataset_sample_id", Integer, ForeignKey("dataset_sample.id"), nullable=False),
    Column("repeat", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("calls_from_cache", Integer, nullable=False),
    Column("latency_s", Float, nullable=False),
    Column("error", Text),
    Column("excerpt", Text, nullable=False),  # the beginning of the reply, to search and to list
    Column("cache_write_tokens", Integer, nullable=False, server_default="0"),
    Column(
        "cut", String, nullable=False, server_default=""
    ),  # "answer" or "reasoning": where max_tokens fell
    Column("cost", Float),  # in US dollars; NULL where no price is known
    Column("judge_cost", Float),
    UniqueConstraint("run_key", "dataset_sample_id", "repeat", name="uq_sample_item"),
    sqlite_with_rowid=False,
)

_of_sample = ["sample.run_key", "sample.sequence"]

score = Table(
    "score",
    metadata,
    Column("run_key", Integer, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("metric", String, primary_key=True),
    Column("value", Float),
    Column("error", Text),
    ForeignKeyConstraint(["run_key", "sequence"], _of_sample, name="fk_score_sample", ondelete="CASCADE"),
    sqlite_with_rowid=False,
)

payload = Table(
    "payload",
    metadata,
    Column("run_key", Integer, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    ForeignKeyConstraint(["run_key", "sequence"], _of_sample, name="fk_payload_sample", ondelete="CASCADE"),
)

run_metric = Table(
    "run_metric",
    metadata,
    Column("run_key", Integer, ForeignKey("run.key"), primary_key=True),
    Column("metric", String, primary_key=True),
    Column("slice", String, primary_key=True),  # "" for the whole run
    Column("n", Integer, nullable=False),
    Column("value", Float),  # NULL stands for NaN: no sample had a value
    Column("se", Float),
    Column("ci_low", Float),
    Column("ci_high", Float),
    Column("method", String, nullable=False),
    Column("clusters", Integer),
    Column("level", Float, nullable=False),
    Column("bound_low", Float),
    Column("bound_high", Float),
    sqlite_with_rowid=False,
)

blob = Table(
    "blob",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("media_type", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
