"""Bring a store to the schema of this evalkit, or say why not. Alembic is imported only for work."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.store.database import Database
from evalkit.store.schema import VERSION


def migrate(database: Database) -> None:
    """Create or upgrade the tables. Raises ``StoreError`` for a newer store, or another's database."""
    with database.reading() as connection:
        if _version(connection, database.name) == VERSION:
            return
    with (
        database.writing() as connection
    ):  # of several processes that come here at once, the first does the work
        if _version(connection, database.name) != VERSION:
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


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    command.upgrade(config, "head")
