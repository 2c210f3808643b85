"""The response cache: what makes two requests the same, and what survives."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import msgspec
import pytest

from evalkit.errors import StoreError
from evalkit.models.middleware.response_cache import ResponseCache, request_key
from evalkit.types import Image, Message, Request, Response, Sample, Text, Usage

IDENTITY = {"provider": "openai", "model": "m", "weight_version": "1"}
RED, BLUE = Image.of(b"red"), Image.of(b"blue")
BASE = Request(messages=(Message("user", (Text("What is it?"), RED)),), seed=1)


def change(**fields) -> Request:
    return msgspec.structs.replace(BASE, **fields)


@pytest.mark.parametrize(
    "other",
    [
        change(messages=(Message("system", (Text("What is it?"), RED)),)),
        change(messages=(Message("user", (Text("What is that?"), RED)),)),
        change(messages=(Message("user", (RED, Text("What is it?"))),)),
        change(messages=(Message("user", (Text("What is it?"), BLUE)),)),
        change(messages=(Message("user", "What is it?"),)),
        change(messages=(), prompt="What is it?"),
        change(messages=(), prompt="What is it?", continuation=" red"),
        change(max_tokens=511),
        change(temperature=0.1),
        change(top_p=0.9),
        change(stop=("\n",)),
        change(seed=2),
        change(seed=None),
        change(json_schema={"type": "object"}),
        change(regex="a|b"),
        change(extra={"top_k": 5}),
        change(repeat=1),
    ],
)
def test_every_ingredient_makes_another_key(other):
    assert request_key(IDENTITY, other) != request_key(IDENTITY, BASE)


def test_model_and_salt_make_another_key_and_the_rest_does_not(tmp_path):
    key = request_key(IDENTITY, BASE)
    assert request_key(IDENTITY | {"weight_version": "2"}, BASE) != key
    assert request_key(IDENTITY, BASE, "salt") != key
    assert request_key(dict(reversed(IDENTITY.items())), BASE) == key
    assert request_key(IDENTITY, change(sample=Sample("s", "secret"))) == key
    # The same bytes from a file and from memory are the same picture.
    path = tmp_path / "red.png"
    path.write_bytes(b"red")
    assert (
        request_key(IDENTITY, change(messages=(Message("user", (Text("What is it?"), Image.open(path))),)))
        == key
    )
    # The order of keys in a schema is not content.
    one, two = {"type": "object", "title": "t"}, {"title": "t", "type": "object"}
    assert request_key({}, change(json_schema=one)) == request_key({}, change(json_schema=two))


def test_a_response_comes_back_whole(tmp_path):
    cache = ResponseCache(tmp_path / "deep" / "responses.db")
    responses = {
        b"a": Response(text="short é\x00", usage=Usage(3, 4, 1, 0, 7), logprobs=(-1.5, -2.0), is_greedy=True),
        b"b": Response(text="long " * 5000, finish_reason="length", reasoning="why"),
    }
    for key, response in responses.items():
        cache.put(key, response)
        stored = cache.get(key)
        assert stored is not None
        assert stored.response == msgspec.structs.replace(response, from_cache=True)
    assert cache.get(b"c") is None
    cache.close()
    assert (tmp_path / "deep" / "responses.db").stat().st_size < 25_000


WRITER = """
import sys
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.types import Response
cache, start = ResponseCache(sys.argv[1]), int(sys.argv[2])
for i in range(start, start + int(sys.argv[3])):
    cache.put(str(i).encode(), Response(text=f"reply {i}"))
    print(i, flush=True)
"""


def writer(path, start: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(start), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once(tmp_path):
    path = tmp_path / "responses.db"
    processes = [writer(path, 0, 300), writer(path, 1000, 300)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    cache = ResponseCache(path)
    for i in [*range(300), *range(1000, 1300)]:
        found = cache.get(str(i).encode())
        assert found is not None
        assert found.response.text == f"reply {i}"
    cache.close()


def test_kill_9_loses_nothing_that_was_put(tmp_path):
    path = tmp_path / "responses.db"
    process = writer(path, 0, 1_000_000)
    assert process.stdout is not None
    last = [process.stdout.readline() for _ in range(200)][-1]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    cache = ResponseCache(path)
    assert all(cache.get(str(i).encode()) is not None for i in range(int(last) + 1))
    cache.put(b"more", Response(text="goes on"))
    cache.close()


def test_a_file_that_is_no_cache(tmp_path):
    path = tmp_path / "responses.db"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreError, match=r"damaged.*delete it"):
        ResponseCache(path)
    assert path.read_bytes().startswith(b"something else")


def test_a_damaged_value(tmp_path):
    path = tmp_path / "responses.db"
    cache = ResponseCache(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO answer (key, value, filed) VALUES (?, ?, 0)", (b"k", b"\x01not zlib"))
    with pytest.raises(StoreError, match="damaged"):
        cache.get(b"k")
    cache.close()


def test_a_newer_file_is_left_alone(tmp_path):
    path = tmp_path / "responses.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"newer evalkit.*99.*update evalkit"):
        ResponseCache(path)


def test_a_full_disk(tmp_path):
    cache = ResponseCache(tmp_path / "responses.db")
    pages = cache._db.execute("PRAGMA page_count").fetchone()[0]
    cache._db.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then reports what a full disk reports
    with pytest.raises(StoreError, match=r"no space left.*resume"):
        cache.put(b"k", Response(text=os.urandom(100_000).hex()))
    assert cache.get(b"k") is None
    cache.close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be used"):
        ResponseCache(tmp_path / "file" / "responses.db")


def test_what_was_filed_first_makes_room(tmp_path):
    path = tmp_path / "responses.db"
    cache = ResponseCache(path, max_bytes=300_000)
    for i in range(400):
        cache.put(str(i).encode(), Response(text=os.urandom(2_000).hex()))
    assert cache.get(b"399") is not None
    assert cache.get(b"0") is None
    held = [i for i in range(400) if cache.get(str(i).encode())]
    assert held == list(range(held[0], 400))  # what is left is what came last
    assert cache.info().bytes <= 300_000
    cache.close()
    assert path.stat().st_size < 400_000


def test_several_processes_keep_the_limit_together(tmp_path):
    path = tmp_path / "responses.db"
    script = WRITER.replace("(sys.argv[1])", "(sys.argv[1], 100_000)").replace("reply {i}", "{i}" + "x" * 900)
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path), str(start), "200"], stdout=subprocess.PIPE)
        for start in (0, 1_000, 2_000)
    ]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    cache = ResponseCache(path)
    assert 0 < cache.info().bytes <= 100_000
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    cache.close()


def test_a_file_of_the_first_version_keeps_its_responses(tmp_path):
    path = tmp_path / "responses.db"
    value = b"\x00" + msgspec.msgpack.encode(Response(text="kept"))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE responses (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        db.execute("INSERT INTO responses VALUES (?, ?)", (b"k", value))
        db.execute("PRAGMA user_version = 1")
    cache = ResponseCache(path)
    found = cache.get(b"k")
    assert found is not None
    assert found.response.text == "kept"
    assert cache.clear(before=1.0) == 1
    assert cache.info().responses == 0
    cache.close()
