"""A reference schedule that knows all requests, the lengths of the replies, the cache and the clock.

The optimal order is too hard to compute, so this is the best of many orders, each tried on the simulator:
prefix by prefix with the long replies in a first pass, for several borders between long and short, several
orders of the prefixes and several lengths of a tail sorted by length; longest reply first without regard to
prefixes; evalkit's scheduler with true lengths. A local search then improves the best order: it moves runs of
one prefix and single requests. ``floor`` is a lower bound for every schedule.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from benchmarks.simserver.drive import Result, in_order, order_of
from benchmarks.simserver.server import Server
from benchmarks.simserver.work import Item

Servers = Callable[[], list[Server]]


def clairvoyant(items: Sequence[Item], servers: Servers, slots: int, *, search: int = 150) -> Result:
    """Return the shortest makespan of the search."""
    tried = [(in_order(order, servers(), slots), order) for order in _candidates(items, servers, slots)]
    best, order = min(tried, key=lambda pair: pair[0].makespan)
    rng = random.Random(0)
    for _ in range(search):
        moved = _moved(order, rng)
        result = in_order(moved, servers(), slots)
        if result.makespan < best.makespan:
            best, order = result, moved
    return best


def floor(items: Sequence[Item], servers: Servers, slots: int) -> float:
    """Return a lower bound: each piece of prompt is read once, every step is full, no server is idle."""
    parts = [part for item in items for part in (item, item.then) if part is not None]
    read = sum({part.pieces[: i + 1]: p[1] for part in parts for i, p in enumerate(part.pieces)}.values())
    steps = sum(part.output for part in parts) / slots
    speeds = [server.speed for server in servers()]
    alone = [read / s.prefill + steps * (s.step_s + s.step_each_s * slots) for s in speeds]
    return 1 / sum(1 / seconds for seconds in alone)


def _candidates(items: Sequence[Item], servers: Servers, slots: int) -> Iterator[list[Item]]:
    yield sorted(items, key=lambda i: -i.output)
    yield order_of(items, servers(), slots)
    lengths = sorted(item.output for item in items)
    for share in (0.0, 0.5, 0.75, 0.9, 0.95, 0.98):
        border = lengths[int(share * len(lengths))]
        for rank in (sum, max):
            for tail in (0, 64, 200):
                yield _passes(items, border, rank, tail)


def _passes(items: Sequence[Item], border: int, rank: Callable, tail: int) -> list[Item]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.pieces[0][0], []).append(item)
    ordered = sorted(groups.values(), key=lambda g: -rank([i.output for i in g]))
    order = []
    for long in (True, False):
        for group in ordered:
            order += sorted((i for i in group if (i.output >= border) == long), key=lambda i: -i.output)
    return order[: len(order) - tail] + sorted(order[len(order) - tail :], key=lambda i: -i.output)


def _moved(order: list[Item], rng: random.Random) -> list[Item]:
    """Return a neighbour: a run of one prefix, or a single request, is moved."""
    start = rng.randrange(len(order))
    stop = start + 1
    if rng.random() < 0.5:
        prefix = order[start].pieces[0]
        while stop < len(order) and order[stop].pieces[0] == prefix:
            stop += 1
    rest = order[:start] + order[stop:]
    to = rng.randrange(len(rest) + 1)
    return rest[:to] + order[start:stop] + rest[to:]
