"""Rates and outages in virtual time: what a server sees of them."""

from __future__ import annotations

import pytest

from evalkit.errors import Overloaded, ServerFailed
from evalkit.models.transport import Unreachable
from evalkit.schedule import Rate, Scheduler
from tests.schedule.asking import ask


def sent_at(schedule: Scheduler, until: float, answers, step: float = 0.01) -> list[float]:
    """When requests are sent; ``answers(now)`` is the failure in which one ends soon after, or None."""
    sent, under_way = [], []
    for tick in range(round(until / step)):
        now = tick * step
        for ticket in under_way:
            problem = answers(now)
            schedule.ended(ticket, now, problem=problem, tokens=None if problem else 10)
        under_way = list(iter(lambda now=now: schedule.next(now), None))
        sent += [now] * len(under_way)
    return sent


@pytest.mark.parametrize("endpoints", [["a"], ["a", "b"]])
def test_requests_a_minute_are_kept_at_each_endpoint_and_spread_evenly(endpoints: list[str]) -> None:
    schedule = Scheduler(endpoints, each=32)
    for lane in schedule.lanes:
        lane.requests = Rate(120)
    for i in range(1_000):
        schedule.submit(ask(str(i)))
    sent = sent_at(schedule, 60, lambda now: None)
    each = len(sent) / len(endpoints)
    assert 118 <= each <= 123  # a second's worth more at the beginning
    for begin in range(0, 50, 10):
        within = sum(begin <= moment < begin + 10 for moment in sent) / len(endpoints)
        assert 19 <= within <= 23


def test_tokens_a_minute_are_those_that_were_counted_in_the_end() -> None:
    schedule = Scheduler(["a"], each=32)
    schedule.lanes[0].tokens = Rate(6_000)
    for i in range(1_000):
        schedule.submit(ask(f"{i:080}"))  # 20 tokens and a reply of 10, though it might have 100
    sent = sent_at(schedule, 60, lambda now: None)
    assert 190 <= len(sent) <= 6_100 / 30 + 4


def test_a_server_that_is_away_is_asked_by_one_request_now_and_then() -> None:
    schedule = Scheduler(["a"], each=32)
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
    schedule = Scheduler(["a", "b"], each=16)
    for i in range(2_000):
        schedule.submit(ask(str(i)))
    sent = sent_at(schedule, 20, lambda now: problem)
    assert len(sent) <= 3 * 32
    assert schedule.outage.lasts(20.0) == pytest.approx(20, abs=0.1)


def test_now_and_then_a_failure_is_no_outage() -> None:
    schedule = Scheduler(["a"], each=32)
    for i in range(500):
        schedule.submit(ask(str(i)))
    turn = iter(range(10**6))
    sent = sent_at(schedule, 20, lambda now: ServerFailed("", status=500) if next(turn) % 3 else None)
    assert len(sent) == 500
    assert schedule.outage.lasts(20.0) == 0
