"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "task",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
    )
    op.create_table(
        "model",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
    )
    op.create_table(
        "run",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("task_id", sa.Integer, sa.ForeignKey("task.id"), nullable=False),
        sa.Column("model_id", sa.Integer, sa.ForeignKey("model.id"), nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("heartbeat", sa.Float),
        sa.Column("owner", sa.String),
        sa.Column("wall_s", sa.Float, nullable=False),
        sa.Column("n_expected", sa.Integer),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("spec", sa.LargeBinary, nullable=False),
        sa.Column("totals", sa.LargeBinary),
    )
    op.create_index("ix_run_task_started", "run", ["task_id", "started"])
    op.create_table(
        "item",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("document", sa.String, nullable=False),
        sa.Column("cluster", sa.String, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "sample",
        sa.Column("run_key", sa.Integer, sa.ForeignKey("run.key"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("item_id", sa.Integer, sa.ForeignKey("item.id"), nullable=False),
        sa.Column("repeat", sa.Integer, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sa.Column("cached_tokens", sa.Integer, nullable=False),
        sa.Column("reasoning_tokens", sa.Integer, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("calls_from_cache", sa.Integer, nullable=False),
        sa.Column("latency_s", sa.Float, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("excerpt", sa.Text, nullable=False),
        sa.UniqueConstraint("run_key", "item_id", "repeat", name="uq_sample_item"),
        sqlite_with_rowid=False,
    )
    of_sample = ["sample.run_key", "sample.sequence"]
    op.create_table(
        "score",
        sa.Column("run_key", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("metric", sa.String, primary_key=True),
        sa.Column("value", sa.Float),
        sa.Column("error", sa.Text),
        sa.ForeignKeyConstraint(
            ["run_key", "sequence"], of_sample, name="fk_score_sample", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "payload",
        sa.Column("run_key", sa.Integer, primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_key", "sequence"], of_sample, name="fk_payload_sample", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "run_metric",
        sa.Column("run_key", sa.Integer, sa.ForeignKey("run.key"), primary_key=True),
        sa.Column("metric", sa.String, primary_key=True),
        sa.Column("slice", sa.String, primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("mean", sa.Float),
        sa.Column("se", sa.Float),
        sa.Column("ci_low", sa.Float),
        sa.Column("ci_high", sa.Float),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("clusters", sa.Integer),
        sa.Column("level", sa.Float, nullable=False),
        sa.Column("bound_low", sa.Float),
        sa.Column("bound_high", sa.Float),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blob",
        sa.Column("sha256", sa.String, primary_key=True),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
