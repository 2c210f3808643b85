"""Cuts requests into the files of a batch: those with a shared beginning lie side by side.

Vendors read a prompt's beginning once where it comes again soon, so the requests are sorted by their prefix
chains, and a file that is full ends where the fewest beginnings are torn apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import NamedTuple

from evalkit.errors import ModelError, RequestRejected
from evalkit.models.schedule.prefix import prefix_chain
from evalkit.types import Request


class Line(NamedTuple):
    """A request as a line of a file, with the prefix chain of its prompt."""

    key: bytes
    chain: tuple[int, ...]
    text: bytes


def files(
    requests: Mapping[bytes, Request],
    encode: Callable[[bytes, Request], bytes],
    refused: Callable[[bytes, ModelError], object],
    *,
    max_lines: int,
    max_bytes: int,
) -> Iterator[list[Line]]:
    """Yield files within a vendor's limits; only one at a time is in memory.

    ``encode`` turns a request into a line. Where that fails, or the line alone is too large, ``refused`` is
    called with the key and the reason.
    """
    waiting: list[Line] = []
    size = 0
    for line in _lines(requests, encode, refused, max_bytes):
        while waiting and (len(waiting) == max_lines or size + len(line.text) + 1 > max_bytes):
            cut = _cut([*waiting, line])
            yield waiting[:cut]
            waiting = waiting[cut:]
            size = sum(len(kept.text) + 1 for kept in waiting)
        waiting.append(line)
        size += len(line.text) + 1
    if waiting:
        yield waiting


def _lines(
    requests: Mapping[bytes, Request],
    encode: Callable[[bytes, Request], bytes],
    refused: Callable[[bytes, ModelError], object],
    max_bytes: int,
) -> Iterator[Line]:
    chains = {key: prefix_chain(request) for key, request in requests.items()}
    for key in sorted(chains, key=chains.__getitem__):
        try:
            text = encode(key, requests[key])
            if len(text) >= max_bytes:
                raise RequestRejected(
                    f"the request has {len(text):,} bytes, and a whole file of a batch at most {max_bytes:,}"
                )
        except ModelError as problem:
            refused(key, problem)
        else:
            yield Line(key, chains[key], text)


def _cut(lines: list[Line]) -> int:
    """Return after how many lines a full file ends: in its last half, where neighbours share least."""
    full = len(lines) - 1
    return min(range(full, full // 2, -1), key=lambda i: _shared(lines[i - 1].chain, lines[i].chain))


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
