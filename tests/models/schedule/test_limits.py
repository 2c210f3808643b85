"""Rates and outages in virtual time: what a server sees of them."""

from __future__ import annotations

import struct

import pytest

from evalkit.errors import Overloaded, ServerFailed
from evalkit.models.openai.transport import Unreachable
from evalkit.models.schedule.limits import TokenBucket
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import ReportedRateLimit
from evalkit.types import Image, Message, Request, Text
from tests.models.schedule.asking import ask


def sent_at(schedule: Scheduler, until: float, answers, step: float = 0.01) -> list[float]:
    """When requests are sent; ``answers(now)`` is the failure in which one ends soon after, or None."""
    sent, under_way = [], []
    for tick in range(round(until / step)):
        now = tick * step
        for queued in under_way:
            problem = answers(now)
            schedule.finish(queued, now, problem=problem, tokens=None if problem else 10)
        under_way = list(iter(lambda now=now: schedule.next(now), None))
        sent += [now] * len(under_way)
    return sent


@pytest.mark.parametrize("endpoints", [["a"], ["a", "b"]])
def test_requests_a_minute_are_kept_at_each_endpoint_and_spread_evenly(endpoints: list[str]) -> None:
    schedule = Scheduler(endpoints, per_endpoint=32)
    for endpoint in schedule.endpoints:
        endpoint.requests = TokenBucket(120)
    for i in range(1_000):
        schedule.submit(ask(str(i)))
    sent = sent_at(schedule, 60, lambda now: None)
    each = len(sent) / len(endpoints)
    assert 118 <= each <= 123  # a second's worth more at the beginning
    for begin in range(0, 50, 10):
        within = sum(begin <= moment < begin + 10 for moment in sent) / len(endpoints)
        assert 19 <= within <= 23


def test_tokens_a_minute_are_those_that_were_counted_in_the_end() -> None:
    schedule = Scheduler(["a"], per_endpoint=32)
    schedule.endpoints[0].tokens = TokenBucket(6_000)
    for i in range(1_000):
        schedule.submit(ask(f"{i:080}"))  # 20 tokens and a reply of 10, though it might have 100
    sent = sent_at(schedule, 60, lambda now: None)
    assert 190 <= len(sent) <= 6_100 / 30 + 4


def picture(width: int, height: int) -> Image:
    """A PNG of this size: no more of it than its head is looked at."""
    head = struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)
    return Image.of(b"\x89PNG\r\n\x1a\n" + head + b"\0" * 16)


def with_pictures(i: int, *pictures: Image) -> Request:
    return Request(messages=(Message("user", (Text(f"{i:040}"), *pictures)),), max_tokens=10)


@pytest.mark.parametrize(
    ("size", "guessed"),
    [((750, 1_000), 1_000), ((28, 28), 85), ((8_000, 8_000), 1_600), (None, 1_600)],
)
def test_before_any_was_counted_a_picture_costs_tokens_by_its_size(size, guessed: int) -> None:
    schedule = Scheduler(["a"], per_endpoint=32)
    schedule.endpoints[0].tokens = TokenBucket(6_000)
    shown = picture(*size) if size else Image.of(b"nothing known", "image/png")
    schedule.submit(with_pictures(0, shown, shown))
    queued = schedule.next(0.0)
    assert queued.cost == 10 + 10 + 2 * guessed
    assert schedule.endpoints[0].opens_at(0.0) == pytest.approx(queued.cost / 100 - 1)  # 100 tokens a second


@pytest.mark.parametrize("each_costs", [20, 3_000])
def test_pictures_count_in_the_tokens_a_minute_as_replies_say(each_costs: int) -> None:
    schedule = Scheduler(["a"], per_endpoint=4)
    schedule.endpoints[0].tokens = TokenBucket(60_000)
    for i in range(4_000):
        schedule.submit(with_pictures(i, picture(300, 300 + i)))
    sent, under_way = 0, []
    for tick in range(600):
        now = tick / 10
        for queued in under_way:
            schedule.finish(queued, now, tokens=10, prompt=10 + each_costs)
        under_way = list(iter(lambda now=now: schedule.next(now), None))
        sent += len(under_way)
        assert sent * (each_costs + 20) <= (now + 1) * 1_000 + 4 * (each_costs + 20)
    assert sent >= min(2_300, 0.9 * 60_000 / (each_costs + 20))  # four at a time, ten times a second


def test_no_more_go_than_a_server_says_are_left_of_its_rates() -> None:
    schedule = Scheduler(["a"], per_endpoint=8)
    for i in range(100):
        schedule.submit(ask(str(i)))
    endpoint = schedule.endpoints[0]
    first, *_ = under_way = list(iter(lambda: schedule.next(0.0), None))
    endpoint.update_limits(first, {"requests": ReportedRateLimit(3, 10.0, 6)}, 1.0)
    for queued in under_way[:5]:
        schedule.finish(queued, 1.0, tokens=10)
    assert schedule.next(1.0) is None  # three are there, and three are left
    assert schedule.opens_at(1.0) == 11.0
    schedule.finish(under_way[5], 1.5, tokens=10)
    under_way = [*under_way[6:], schedule.next(1.5)]
    assert schedule.next(1.5) is None
    endpoint.update_limits(
        first, {"requests": ReportedRateLimit(100, 10.0, 6)}, 2.0
    )  # an old reply is no news
    assert schedule.next(2.0) is None
    later = list(iter(lambda: schedule.next(11.0), None))
    assert len(under_way) + len(later) == 6
    endpoint.update_limits(
        later[0], {"tokens": ReportedRateLimit(250, 10.0, 5_000)}, 12.0
    )  # a request is taken for 100 and a bit
    for queued in (*under_way, *later):
        schedule.finish(queued, 12.0)
    assert len(list(iter(lambda: schedule.next(12.0), None))) == 2


def test_a_server_that_is_away_is_asked_by_one_request_now_and_then() -> None:
    schedule = Scheduler(["a"], per_endpoint=32)
    for i in range(2_000):
        schedule.submit(ask(str(i)))
    sent = sent_at(schedule, 30, lambda now: Unreachable("refused") if now < 20 else None)
    away = [moment for moment in sent if moment < 20]
    assert len(away) == 32 + 5  # those under way, then after 0.5, 1, 2, 4 and 8 seconds
    back = next(moment for moment in sent if moment >= 20)
    assert back < 20 + 8
    assert len(sent) == 32 + 5 + len([m for m in sent if m >= 20]) > 1_000


@pytest.mark.parametrize("problem", [Overloaded("busy", status=503), ServerFailed("broken", status=500)])
def test_a_server_that_answers_nothing_else_is_away_too(problem) -> None:
    schedule = Scheduler(["a", "b"], per_endpoint=16)
    for i in range(2_000):
        schedule.submit(ask(str(i)))
    sent = sent_at(schedule, 20, lambda now: problem)
    assert len(sent) <= 3 * 32
    assert schedule.breaker.duration(20.0) == pytest.approx(20, abs=0.1)


def test_now_and_then_a_failure_is_no_outage() -> None:
    schedule = Scheduler(["a"], per_endpoint=32)
    for i in range(500):
        schedule.submit(ask(str(i)))
    turn = iter(range(10**6))
    sent = sent_at(schedule, 20, lambda now: ServerFailed("", status=500) if next(turn) % 3 else None)
    assert len(sent) == 500
    assert schedule.breaker.duration(20.0) == 0
