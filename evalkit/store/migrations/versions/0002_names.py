"""Clearer names: samples of data sets by their ids, descriptions of runs by typed fields."""

import zlib
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_KEPT = ("path", "params", "named", "metrics", "cache", "max_inflight", "given")


def upgrade() -> None:
    op.rename_table("item", "dataset_sample")
    op.alter_column("dataset_sample", "document", new_column_name="sample_id")
    op.alter_column("sample", "item_id", new_column_name="dataset_sample_id")
    op.alter_column("run_metric", "mean", new_column_name="value")
    run = sa.table("run", sa.column("key", sa.Integer), sa.column("spec", sa.LargeBinary))
    connection = op.get_bind()
    for key, spec in connection.execute(sa.select(run.c.key, run.c.spec)).all():
        connection.execute(run.update().where(run.c.key == key).values(spec=_pack(_renamed(_unpack(spec)))))


def _renamed(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a run's description with its present fields; other fields hold the rest of ``target`` too."""
    target = spec.pop("target", {})
    spec["model_spec"] = spec.pop("spec")
    spec["reproduction"] = {name: target[name] for name in _KEPT if target.get(name) is not None}
    for metric in spec.get("metrics", ()):
        metric["kind"] = metric.pop("judges", "output")
    return spec


def _unpack(body: bytes) -> dict[str, Any]:
    raw = zlib.decompress(body) if body[:1] == b"\x78" else body
    return msgspec.msgpack.decode(raw, type=dict[str, Any])


def _pack(value: Any) -> bytes:
    raw = msgspec.msgpack.encode(value)
    return zlib.compress(raw, 3) if len(raw) > 512 else raw
