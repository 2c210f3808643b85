"""The scheduler: nothing lost or sent twice, bounds kept, nobody starved; prefixes together, long first."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from evalkit.errors import Overloaded, RequestRejected, ServerFailed
from evalkit.models.schedule.prefix import QueuedRequest, prefix_chain
from evalkit.models.schedule.scheduler import HARD_STARVATION, Scheduler
from evalkit.types import Image, Message, Request, Text
from tests.models.schedule.asking import ask

PARAGRAPHS = st.lists(st.sampled_from(["system", "a", "b", "c", "d"]), min_size=1, max_size=5)


def drain(schedule: Scheduler) -> list[str]:
    """Prompts in the order in which they go, one at a time."""
    order = []
    while (queued := schedule.next(0.0)) is not None:
        order.append(queued.request.prompt)
        schedule.finish(queued, 0.0, tokens=1)
    return order


class Machine(RuleBasedStateMachine):
    """Any sequence of requests, replies, failures, cancellations and passing time, on three endpoints."""

    EACH, GROWS, TOGETHER = 3, 0, 7

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Scheduler(
            ["http://a", "http://b", "http://c"],
            per_endpoint=self.EACH,
            max_per_endpoint=self.GROWS,
            max_in_flight=self.TOGETHER,
        )
        self.now = 0.0
        self.waiting: list[QueuedRequest] = []
        self.sent: list[QueuedRequest] = []
        self.overtaken: dict[QueuedRequest, int] = {}
        self.closed: dict[int, float] = {}  # until when an endpoint asked to be left alone
        self.most_waiting = self.cancelled = 0

    @rule(prompts=st.lists(PARAGRAPHS, min_size=1, max_size=8))
    def submit(self, prompts: list[list[str]]) -> None:
        for paragraphs in prompts:
            request = ask(*paragraphs)
            queued = self.schedule.submit(request, len(request.prompt or "") ** 2)
            self.waiting.append(queued)
            self.overtaken[queued] = 0
            self.most_waiting = max(self.most_waiting, len(self.waiting))

    @rule()
    def send(self) -> None:
        while (queued := self.schedule.next(self.now)) is not None:
            self.waiting.remove(queued)  # raises where it was not waiting: lost or sent twice
            self.sent.append(queued)
            assert self.now >= self.closed.get(queued.endpoint, 0.0)
            for other in self.waiting:
                self.overtaken[other] += other.number < queued.number
        full = len(self.sent) >= self.TOGETHER
        some_room = any(
            endpoint.free() > 0 and endpoint.is_healthy(self.now) for endpoint in self.schedule.endpoints
        )
        # Where speeds are known, a slow endpoint may be left idle for a faster one.
        choosy = any(endpoint.seconds_per_token for endpoint in self.schedule.endpoints) and self.sent
        assert not self.waiting or full or not some_room or choosy

    @precondition(lambda self: self.sent)
    @rule(
        which=st.randoms(),
        how=st.sampled_from(["ok", "ok", "ok", "busy", "later", "failed", "refused", "given up"]),
    )
    def end(self, which: random.Random, how: str) -> None:
        queued = self.sent.pop(which.randrange(len(self.sent)))
        problem = {
            "busy": Overloaded("", status=429),
            "later": Overloaded("", status=429, retry_after=30.0),
            "failed": ServerFailed("", status=500),
            "refused": RequestRejected("", status=400),
        }.get(how)
        if how == "later":
            self.closed[queued.endpoint] = self.now + 30.0
        tokens = 5 if how == "ok" else None
        self.schedule.finish(queued, self.now, tokens=tokens, problem=problem)

    @precondition(lambda self: self.waiting or self.sent)
    @rule(which=st.randoms())
    def cancel(self, which: random.Random) -> None:
        queued = which.choice(self.waiting + self.sent)
        (self.waiting if queued in self.waiting else self.sent).remove(queued)
        self.schedule.cancel(queued, self.now)
        self.schedule.cancel(queued, self.now)
        self.cancelled += 1

    @rule(which=st.integers(0, 2), running=st.integers(0, 9), waiting=st.integers(0, 9))
    def queue_at_the_server(self, which: int, running: int, waiting: int) -> None:
        self.schedule.endpoints[which].concurrency.observe_queue(running, waiting, self.now)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.schedule) == len(self.waiting)
        assert self.schedule.in_flight == len(self.sent) <= self.TOGETHER
        for i, endpoint in enumerate(self.schedule.endpoints):
            assert endpoint.in_flight == sum(t.endpoint == i for t in self.sent) <= max(self.EACH, self.GROWS)
            assert 1 <= endpoint.concurrency.limit <= max(self.EACH, self.GROWS)

    @invariant()
    def nobody_starves(self) -> None:
        assert all(self.overtaken[t] <= HARD_STARVATION * self.most_waiting for t in self.waiting)

    def teardown(self) -> None:
        """Whatever happened, the rest is sent in the end, each once."""
        while self.waiting:
            for queued in self.sent:
                self.schedule.finish(queued, self.now, tokens=1)
            self.sent.clear()
            self.now += 100
            before = len(self.waiting)
            self.send()
            assert len(self.waiting) < before


class Growing(Machine):
    """The same where endpoints may earn themselves more."""

    EACH, GROWS, TOGETHER = 2, 6, 14


for machine in (Machine, Growing):
    machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


test_machine = Machine.TestCase


test_growing_machine = Growing.TestCase


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_a_rare_prefix_is_not_starved_by_a_popular_one(seed: int) -> None:
    rng = random.Random(seed)
    schedule = Scheduler(per_endpoint=2)
    lonely = schedule.submit(ask("rare", "question", max_tokens=1))
    under_way = []
    for i in range(300):
        for _ in range(rng.randint(1, 3) if i < 40 else 1):
            schedule.submit(ask("popular", str(rng.random()), max_tokens=500))
        while (queued := schedule.next(i)) is not None:
            if queued is lonely:
                return
            under_way.append(queued)
        schedule.finish(under_way.pop(rng.randrange(len(under_way))), i, tokens=3)
    pytest.fail("still waiting")


def test_chains_tell_how_much_is_shared() -> None:
    picture, other = Image.of(b"1"), Image.of(b"2")

    def chat(image: Image, text: str) -> tuple[int, ...]:
        return prefix_chain(
            Request(messages=(Message("system", "be brief"), Message("user", (image, Text(text)))))
        )

    first, second, third = chat(picture, "why?"), chat(picture, "how?"), chat(other, "why?")
    assert len(first) == 5
    assert first[:4] == second[:4]
    assert first[4] != second[4]
    assert first[:3] == third[:3]
    assert not set(first[3:]) & set(third[3:])
    assert prefix_chain(ask("a", "b"))[0] == prefix_chain(ask("a", "c"))[0]
    long = prefix_chain(ask(*map(str, range(1000))))
    assert len(long) < 100
    assert long[-1] != prefix_chain(ask(*map(str, range(999))))[-1]


def test_prefixes_go_together_the_largest_first_and_long_ones_within_them() -> None:
    prior = {"x": 10, "y": 11, "z": 12}
    schedule = Scheduler(per_endpoint=1)
    for question in "xyz":
        for shared in ("s\n\np1", "s\n\np2", "t"):
            if (shared, question) != ("s\n\np1", "y"):
                schedule.submit(ask(shared, question), prior[question])
    order = drain(schedule)
    assert order == [
        f"{p}\n\n{q}" for p in ("s\n\np2", "s\n\np1", "t") for q in "zyx" if (p[-1], q) != ("1", "y")
    ]


def test_what_would_outlast_the_rest_goes_early_even_from_a_small_group() -> None:
    schedule = Scheduler(per_endpoint=4)
    for i in range(40):
        schedule.submit(ask("popular", str(i), max_tokens=2000), 10)
    schedule.submit(ask("rare", "long", max_tokens=2000), 1000)
    first = [schedule.next(0.0) for _ in range(4)]
    assert "rare\n\nlong" in {queued.request.prompt for queued in first}


def test_lengths_are_learned_by_prefix_then_by_what_is_alike() -> None:
    schedule = Scheduler(per_endpoint=100)
    assert schedule.submit(ask("new", "1")).length == 100
    schedule.submit(ask("s", "p", "0"))
    for i in range(5):
        queued = schedule.submit(ask("s", "p", f"seen {i}"))
        while schedule.next(0.0):
            pass
        schedule.finish(queued, 0.0, tokens=20)
    assert schedule.submit(ask("s", "p", "more")).length == 20
    assert schedule.submit(ask("elsewhere", "q")).length == 20
    assert schedule.submit(ask("s", "p", "judge", max_tokens=7)).length == 7
    assert schedule.submit(Request(prompt="s", continuation=" yes")).length == 1


def test_a_prefix_stays_at_its_endpoint_while_both_are_busy() -> None:
    schedule = Scheduler(["http://a", "http://b"], per_endpoint=2)
    rng = random.Random(1)
    for _ in range(400):
        schedule.submit(ask(f"p{rng.randrange(20)}", str(rng.random())))
    seen: dict[str, set[int]] = {}
    under_way: list[QueuedRequest] = []
    while True:
        while (queued := schedule.next(0.0)) is not None:
            under_way.append(queued)
            seen.setdefault(queued.request.prompt.split()[0], set()).add(queued.endpoint)
        if not under_way:
            break
        schedule.finish(under_way.pop(rng.randrange(len(under_way))), 0.0, tokens=1)
    assert (
        sum(len(endpoints) for endpoints in seen.values()) <= 24
    )  # of 20 if nothing ever moved, 40 by chance
