"""Create a store, or upgrade it to the schema of this evalkit.

``schema.py`` defines a new store; Alembic, imported only then, upgrades an older one. A test compares the
results of both.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from evalkit.errors import StoreError
from evalkit.store.database import Database
from evalkit.store.schema import VERSION, metadata


def migrate(database: Database) -> None:
    """Create or upgrade the tables. Raises ``StoreError`` for a newer store or another program's database."""
    with database.reading() as connection:
        if _version(connection, database.name) == VERSION:
            return
    with database.writing() as connection:  # of several processes at once, the first migrates
        database.lock_schema(connection)
        version = _version(connection, database.name)
        if version is None:
            _create(connection)
        elif version != VERSION:
            _upgrade(connection)


def _version(connection: sa.Connection, name: str | None) -> str | None:
    inspector = sa.inspect(connection)
    if not inspector.has_table("alembic_version"):
        if tables := inspector.get_table_names():
            raise StoreError(
                f"{name}: this database holds something else (table {tables[0]!r}); name another with --store"
            )
        return None
    version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    number = int(version) if version is not None and str(version).isascii() and str(version).isdigit() else 0
    if number > int(VERSION):
        raise StoreError(
            f"{name}: the store has schema version {version}, this evalkit knows up to {VERSION}. "
            "Upgrade it: pip install --upgrade evalkit"
        )
    if number < 1 or version != f"{number:04}":
        raise StoreError(
            f"{name}: this database is not an evalkit store, or was changed by hand: it has schema version "
            f"{version!r}, and there are 0001 to {VERSION}"
        )
    return str(version)


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
