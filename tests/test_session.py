"""Fixtures: made once for their parameters, shared, torn down in reverse order."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.collect import collect
from evalkit.progress import Silent
from evalkit.session import Session

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
