"""Rows of data sets: JSON Lines, Parquet of the hub's layout, and what is said where there are none."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.data import hub
from evalkit.data.files import file_rows
from evalkit.errors import CorpusError, UsageError
from tests.servers.scripted import Scripted

ROWS = [{"id": 1, "text": "zinc"}, {"id": 2, "text": "gout"}]


@pytest.fixture
def parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    file = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    return file


def test_a_split_is_the_same_in_every_layout(parquet: Path, tmp_path: Path) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "train.jsonl").write_text(lines)
    (tmp_path / "test.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for data, split in ((tmp_path, "train"), (tmp_path, "test"), (parquet, "test")):
        assert list(hub.rows_of(data, "some/data", None, split, ("id", "text"))) == ROWS


def test_what_a_row_lacks_is_named(parquet: Path, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"id": 1, "text": "a"}\n{"id": 2}\n')
    with pytest.raises(CorpusError, match=r"test\.jsonl:2: it needs text"):
        list(file_rows(tmp_path, "test", "id", "text"))
    with pytest.raises(UsageError, match=r"test\.parquet has no column 'title'; it has id, text"):
        list(hub.rows_of(parquet, "some/data", None, "test", ("id", "title")))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"there is no test\.jsonl or test\.jsonl\.gz in .*; it has no file of a"
    ):
        list(hub.rows_of(tmp_path, "some/data", None, "test"))
    with pytest.raises(UsageError, match="no such file or folder"):
        list(hub.rows_of(tmp_path / "nowhere", "some/data", None, "test"))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has looked for the hub yet, and what is found is forgotten."""
    from datasets import config
    from huggingface_hub import constants

    for module in (constants, config):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub.hub_answers.cache_clear()
    yield
    hub.hub_answers.cache_clear()


def offline() -> bool:
    from datasets import config
    from huggingface_hub import constants, is_offline_mode

    assert config.HF_HUB_OFFLINE == constants.HF_HUB_OFFLINE
    return bool(is_offline_mode())


def test_a_hub_that_is_not_there_is_not_asked_again(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert not hub.look_for_hub()
    assert offline()


def test_a_name_server_that_never_answers_is_not_waited_for(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        assert ended.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(hub, "_TIMEOUT_S", 0.05)
    assert not hub.look_for_hub()
    assert not ended.is_set()  # it was still being looked for
    ended.set()
    assert offline()


def test_a_hub_that_answers_is_used(fresh: None, monkeypatch: pytest.MonkeyPatch, scripted: Scripted) -> None:
    monkeypatch.setenv("HF_ENDPOINT", scripted.url)
    assert hub.look_for_hub()
    assert not offline()


def test_the_hub_is_left_alone_where_the_user_says_so(
    fresh: None, monkeypatch: pytest.MonkeyPatch, scripted: Scripted
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", scripted.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    assert not hub.look_for_hub()
    assert offline()
