"""Fixtures: made once for their parameters, shared, torn down in reverse order."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.collection.targets import collect
from evalkit.run import runner
from evalkit.run.session import Session
from evalkit.store import open_store
from evalkit.util.progress import Silent

FILE = """
from evalkit import Answer, Sample, fixture, parametrize, task
LOG = []

@fixture
def corpus(size: int = 3):
    LOG.append(f"corpus {size}")
    yield size
    LOG.append(f"corpus {size} down")

@fixture
async def index(corpus):
    LOG.append(f"index {corpus}")
    yield corpus * 10
    LOG.append(f"index {corpus} down")

@task([Sample("1", "q")], metrics=[])
@parametrize(arm=["a", "b"], size=[3, 4])
async def t(sample, model, index, arm="a"): ...
"""


@pytest.fixture
def items(tmp_path: Path):
    (tmp_path / "task_f.py").write_text(FILE)
    return collect([str(tmp_path / "task_f.py")]).items


async def test_a_fixture_is_made_once_for_each_set_of_its_parameters(items) -> None:
    log = items[0].task.fn.__globals__["LOG"]
    async with Session(Silent()) as session:
        values = [(await session.arguments(i.task.fn, i))["index"] for i in items]
        assert values == [30, 40, 30, 40]
        assert log == ["corpus 3", "index 3", "corpus 4", "index 4"]
    assert log[4:] == ["index 4 down", "corpus 4 down", "index 3 down", "corpus 3 down"]


SCOPES = """
from evalkit import Answer, Sample, fixture, parametrize, task
from evalkit.metrics import exact_match
LOG = []

@fixture
def server():
    LOG.append("server")
    yield "s"
    LOG.append("server down")

@fixture(scope="task")
async def index(server):
    LOG.append("index")
    yield server + "i"
    LOG.append("index down")

@fixture(scope="sample")
async def sandbox(sample, model, index):
    LOG.append(f"sandbox {sample.id}")
    yield f"{index} {sample.id}"
    LOG.append(f"sandbox {sample.id} down")

@fixture(scope="sample")
def plain(sandbox): return sandbox.upper()

@task([Sample("1", "q", "si 1SI 1"), Sample("2", "q", "si 2SI 2")], metrics=[exact_match()])
@parametrize(arm=["a", "b"])
async def t(sample, model, sandbox, plain, arm="a"):
    return Answer(text=sandbox + plain)
"""


async def test_fixtures_live_for_the_session_the_run_or_the_sample(tmp_path: Path) -> None:
    (tmp_path / "task_scopes.py").write_text(SCOPES)
    items = collect([str(tmp_path / "task_scopes.py")]).items
    log = items[0].task.fn.__globals__["LOG"]
    with open_store(tmp_path / "e.db") as store:
        async with Session(Silent()) as session:
            for item in items:
                run = await runner.start(item, "baseline:empty", store, session, runner.Options(window=1))
                assert run.metrics["exact_match"].value == 1.0
    samples = ["sandbox 1", "sandbox 1 down", "sandbox 2", "sandbox 2 down"]
    once = ["index", *samples, "index down"]
    assert log == ["server", *once, *once, "server down"]


async def test_a_sample_whose_teardown_fails_is_an_error_of_that_sample(tmp_path: Path) -> None:
    broken = SCOPES.replace('LOG.append(f"sandbox {sample.id} down")', 'assert sample.id != "2", "left over"')
    (tmp_path / "task_down.py").write_text(broken)
    item = collect([str(tmp_path / "task_down.py")]).items[0]
    with open_store(tmp_path / "e.db") as store:
        async with Session(Silent()) as session:
            run = await runner.start(item, "baseline:empty", store, session, runner.Options())
        assert (run.status, run.counts) == ("incomplete", {"error": 1, "ok": 1})
        assert "left over" in (store.samples.get(run.id, 1).error or "")


async def test_a_fixture_that_overrides_another_may_use_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "sub").mkdir()
    conf = "from evalkit import fixture\n@fixture\ndef place(): return 'root'\n"
    over = "from evalkit import fixture\n@fixture\ndef place(place): return place + ' sub'\n"
    (tmp_path / "evalconf.py").write_text(conf)
    (tmp_path / "sub" / "evalconf.py").write_text(over)
    (tmp_path / "sub" / "task_place.py").write_text(
        "from evalkit import Sample, fixture, task\n"
        "@fixture\ndef place(place): return place + ' file'\n"
        "@task([Sample('1', 'q')], metrics=[])\nasync def t(sample, model, place): ...\n"
    )
    (item,) = collect([str(tmp_path / "sub")]).items
    async with Session(Silent()) as session:
        assert await session.arguments(item.task.fn, item) == {"place": "root sub file"}
