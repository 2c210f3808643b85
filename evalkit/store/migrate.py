"""Bring a store to the schema of this evalkit, or say why not.

A new store is made from ``schema.py``, an older one is changed by Alembic, which is imported only then. A
test keeps both ways equal.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.store.database import Database
from evalkit.store.schema import VERSION, metadata


def migrate(database: Database) -> None:
    """Create or upgrade the tables. Raises ``StoreError`` for a newer store, or another's database."""
    with database.reading() as connection:
        if _version(connection, database.name) == VERSION:
            return
    with database.writing() as connection:  # of several processes that come here at once, the first does it
        found = _version(connection, database.name)
        if found is None:
            _create(connection)
        elif found != VERSION:
            _upgrade(connection)


def _version(connection: sa.Connection, name: str | None) -> str | None:
    inspector = sa.inspect(connection)
    if not inspector.has_table("alembic_version"):
        if tables := inspector.get_table_names():
            raise StoreError(
                f"{name}: this database holds something else (table {tables[0]!r}); name another with --store"
            )
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if found is None or not str(found).isdigit():
        raise StoreError(f"{name}: this database is not an evalkit store (version {found!r})")
    if int(found) > int(VERSION):
        raise StoreError(
            f"{name}: the store has schema version {found}, this evalkit knows up to {VERSION}. "
            "Upgrade it: pip install --upgrade evalkit"
        )
    return str(found)


def _create(connection: sa.Connection) -> None:
    metadata.create_all(connection, checkfirst=False)
    version = sa.Column("version_num", sa.String(32), nullable=False)
    key = sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc")
    stamp = sa.Table("alembic_version", sa.MetaData(), version, key)
    stamp.create(connection)
    connection.execute(stamp.insert().values(version_num=VERSION))


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    command.upgrade(config, "head")
