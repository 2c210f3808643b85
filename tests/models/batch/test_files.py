"""Requests are cut into files within a vendor's limits, with shared beginnings side by side."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import ModelError, RequestRejected
from evalkit.models.batch.files import files
from evalkit.types import Message, Request


def request(group: int, question: str) -> Request:
    return Request(messages=(Message("system", f"The document {group}."), Message("user", question)))


def cut(requests: dict[bytes, Request], size: int = 10, **limits: int):
    refused: list[tuple[bytes, ModelError]] = []
    limits = {"max_lines": 1000, "max_bytes": 10**6, **limits}
    found = files(requests, lambda key, _: key * size, lambda *why: refused.append(why), **limits)
    return [[line.key for line in file] for file in found], refused


def test_requests_of_one_beginning_lie_side_by_side() -> None:
    requests = {b"%d-%d" % (g, i): request(g, f"question {i}") for g in range(5) for i in range(8)}
    mixed = dict(random.Random(0).sample(list(requests.items()), len(requests)))
    (file,), _ = cut(mixed)
    groups = [key[:1] for key in file]
    assert sum(a != b for a, b in itertools.pairwise(groups)) == 4


def test_a_full_file_ends_between_two_groups() -> None:
    requests = {b"%d-%d" % (g, i): request(g, f"question {i}") for g in range(4) for i in range(8)}
    found, _ = cut(requests, max_lines=20)
    assert [len(file) for file in found] == [16, 16]
    assert all(len({key[:1] for key in file}) == 2 for file in found)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=40),
    st.integers(1, 12),
    st.integers(40, 100),
)
def test_no_limit_is_passed_and_no_request_is_lost(rows, max_lines, max_bytes) -> None:
    requests = {b"%d" % i: request(group, f"question {i}") for i, (group, _) in enumerate(rows)}
    sizes = {b"%d" % i: size for i, (_, size) in enumerate(rows)}
    refused: list[bytes] = []
    found = list(
        files(
            requests,
            lambda key, _: b"x" * sizes[key],
            lambda key, _: refused.append(key),
            max_lines=max_lines,
            max_bytes=max_bytes,
        )
    )
    for file in found:
        assert 0 < len(file) <= max_lines
        assert len(b"\n".join(line.text for line in file)) <= max_bytes
    assert sorted([line.key for file in found for line in file] + refused) == sorted(requests)
    assert all(sizes[key] >= max_bytes for key in refused)


def test_a_request_that_cannot_be_sent_is_refused_alone() -> None:
    requests = {b"%d" % i: request(0, f"question {i}") for i in range(5)}

    def encode(key: bytes, _: Request) -> bytes:
        if key == b"3":
            raise RequestRejected("the picture is gone")
        return b"x" * (200 if key == b"4" else 10)

    refused: dict[bytes, str] = {}
    found = files(requests, encode, lambda k, p: refused.update({k: str(p)}), max_lines=9, max_bytes=100)
    assert sorted(line.key for file in found for line in file) == [b"0", b"1", b"2"]
    assert refused[b"3"] == "the picture is gone"
    assert "200 bytes" in refused[b"4"]
