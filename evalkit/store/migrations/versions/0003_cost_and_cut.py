"""What a sample cost, and where its reply was cut."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("sample", sa.Column("cache_write_tokens", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("sample", sa.Column("cut", sa.String(), nullable=False, server_default=""))
    op.add_column("sample", sa.Column("cost", sa.Float()))
    op.add_column("sample", sa.Column("judge_cost", sa.Float()))
