"""One endpoint: how many it gets at once, and when it is left alone."""

from __future__ import annotations

import heapq
import random

import pytest

from evalkit.errors import ModelError, Overloaded, ServerFailed
from evalkit.models.openai.transport import TooSlow
from evalkit.models.schedule.endpoint import Concurrency
from evalkit.models.schedule.scheduler import Scheduler
from tests.models.schedule.asking import ask


def test_a_dead_endpoint_is_left_alone_and_taken_back() -> None:
    schedule = Scheduler(["http://dead", "http://well"], per_endpoint=4)
    for i in range(60):
        schedule.submit(ask(str(i)))

    def turn(now: float) -> int:
        """Everything that is sent now ends; how many went to the dead one."""
        queued_requests = list(iter(lambda: schedule.next(now), None))
        for queued in queued_requests:
            broken = queued.endpoint == 0 and now < 6
            problem = ServerFailed("", status=502) if broken else None
            schedule.finish(queued, now, problem=problem, tokens=None if broken else 1)
        return sum(t.endpoint == 0 for t in queued_requests)

    assert turn(0.0) == 4
    assert [turn(1.0), turn(2.0)] == [0, 0]
    assert turn(5.5) == 1  # a single one tries
    assert turn(10.0) == 0
    assert turn(17.0) == 1
    assert turn(18.0) == 4


@pytest.mark.parametrize(("start", "slots"), [(8, 4), (8, 16), (8, 64), (8, 200), (64, 64), (64, 200)])
def test_concurrency_finds_the_slots_of_a_server(start: int, slots: int) -> None:
    """A server that runs ``slots`` at once, a second for each token, and lets the others wait."""
    rng = random.Random(slots)
    gauge = Concurrency(start, 256)
    done: list[tuple[float, float, int]] = []  # a heap: when it ends, when it was begun, its tokens
    free, now, limits = [0.0] * slots, 0.0, []
    for _ in range(30_000):
        while len(done) < gauge.limit:
            tokens = round(rng.lognormvariate(3, 1)) + 1
            begins = max(now, heapq.heappop(free))
            heapq.heappush(free, begins + tokens)
            heapq.heappush(done, (begins + tokens, now, tokens))
        now, begun, tokens = heapq.heappop(done)
        gauge.observe_reply(begun, now, tokens, full=True)
        limits.append(gauge.limit)
    typical = sorted(limits[10_000:])[10_000]
    assert slots <= typical * 1.25
    assert typical <= max(1.6 * slots, start)


def test_concurrency_gives_way_to_overload() -> None:
    gauge = Concurrency(64, 64)
    gauge.overloaded(1.0)
    assert gauge.limit == 48
    for _ in range(50):
        gauge.overloaded(1.0)
    assert gauge.limit == 8


@pytest.mark.parametrize("problem", [Overloaded("", status=503), ServerFailed("", status=504), TooSlow("")])
def test_one_overload_counts_once_for_all_that_were_under_way(problem: ModelError) -> None:
    schedule = Scheduler(per_endpoint=64)
    for i in range(64):
        schedule.submit(ask(str(i)))
    for queued in list(iter(lambda: schedule.next(0.0), None)):
        schedule.finish(queued, 0.0, problem=problem)
    assert schedule.endpoints[0].concurrency.limit == 48


def test_a_few_overloads_by_chance_do_not_slow_a_run_down() -> None:
    schedule, rng = Scheduler(per_endpoint=64), random.Random(5)
    for i in range(3_000):
        schedule.submit(ask(str(i)))
        while (queued := schedule.next(i)) is not None:
            busy = i > 100 and rng.random() < 0.03
            schedule.finish(queued, i, problem=Overloaded("") if busy else None, tokens=None if busy else 5)
    assert schedule.endpoints[0].concurrency.limit >= 48
