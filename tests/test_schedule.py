"""The scheduler: nothing lost or sent twice, bounds kept, nobody starved; prefixes together, long first."""

from __future__ import annotations

import asyncio
import heapq
import importlib
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from evalkit.errors import ModelError, Overloaded, RequestRejected, ServerFailed
from evalkit.models import load, wrap
from evalkit.models.endpoints import Endpoints
from evalkit.models.fake import FakeBackend
from evalkit.models.layers import Retrying, Scheduled, Shared
from evalkit.models.transport import TooSlow, Unreachable
from evalkit.schedule import HARD, Concurrency, Scheduler, Ticket, prefix_chain
from evalkit.types import Image, Message, Request, Response, Text, Usage

PARAGRAPHS = st.lists(st.sampled_from(["system", "a", "b", "c", "d"]), min_size=1, max_size=5)


def ask(*paragraphs: str, max_tokens: int = 100) -> Request:
    return Request(prompt="\n\n".join(paragraphs), max_tokens=max_tokens)


def drain(schedule: Scheduler) -> list[str]:
    """Prompts in the order in which they go, one at a time."""
    order = []
    while (ticket := schedule.next(0.0)) is not None:
        order.append(ticket.request.prompt)
        schedule.ended(ticket, 0.0, tokens=1)
    return order


class Machine(RuleBasedStateMachine):
    """Any sequence of requests, replies, failures, cancellations and passing time, on three endpoints."""

    EACH, GROWS, TOGETHER = 3, 0, 7

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Scheduler(
            ["http://a", "http://b", "http://c"],
            each=self.EACH,
            grows=self.GROWS,
            together=self.TOGETHER,
            prior=lambda request: len(request.prompt or "") ** 2,
        )
        self.now = 0.0
        self.waiting: list[Ticket] = []
        self.sent: list[Ticket] = []
        self.overtaken: dict[Ticket, int] = {}
        self.closed: dict[int, float] = {}  # until when an endpoint asked to be left alone
        self.most_waiting = self.cancelled = 0

    @rule(prompts=st.lists(PARAGRAPHS, min_size=1, max_size=8))
    def submit(self, prompts: list[list[str]]) -> None:
        for paragraphs in prompts:
            ticket = self.schedule.submit(ask(*paragraphs))
            self.waiting.append(ticket)
            self.overtaken[ticket] = 0
            self.most_waiting = max(self.most_waiting, len(self.waiting))

    @rule()
    def send(self) -> None:
        while (ticket := self.schedule.next(self.now)) is not None:
            self.waiting.remove(ticket)  # raises where it was not waiting: lost or sent twice
            self.sent.append(ticket)
            assert self.now >= self.closed.get(ticket.lane, 0.0)
            for other in self.waiting:
                self.overtaken[other] += other.number < ticket.number
        full = len(self.sent) >= self.TOGETHER
        some_room = any(lane.free() > 0 and lane.well(self.now) for lane in self.schedule.lanes)
        # Where speeds are known, a slow endpoint may be left idle for a faster one.
        choosy = any(lane.pace for lane in self.schedule.lanes) and self.sent
        assert not self.waiting or full or not some_room or choosy

    @precondition(lambda self: self.sent)
    @rule(
        which=st.randoms(),
        how=st.sampled_from(["ok", "ok", "ok", "busy", "later", "failed", "refused", "given up"]),
    )
    def end(self, which: random.Random, how: str) -> None:
        ticket = self.sent.pop(which.randrange(len(self.sent)))
        problem = {
            "busy": Overloaded("", status=429),
            "later": Overloaded("", status=429, retry_after=30.0),
            "failed": ServerFailed("", status=500),
            "refused": RequestRejected("", status=400),
        }.get(how)
        if how == "later":
            self.closed[ticket.lane] = self.now + 30.0
        tokens = 5 if how == "ok" else None
        self.schedule.ended(ticket, self.now, tokens=tokens, problem=problem)

    @precondition(lambda self: self.waiting or self.sent)
    @rule(which=st.randoms())
    def cancel(self, which: random.Random) -> None:
        ticket = which.choice(self.waiting + self.sent)
        (self.waiting if ticket in self.waiting else self.sent).remove(ticket)
        self.schedule.cancel(ticket, self.now)
        self.schedule.cancel(ticket, self.now)
        self.cancelled += 1

    @rule(which=st.integers(0, 2), running=st.integers(0, 9), waiting=st.integers(0, 9))
    def queue_at_the_server(self, which: int, running: int, waiting: int) -> None:
        self.schedule.lanes[which].concurrency.queued(running, waiting, self.now)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.schedule) == len(self.waiting)
        assert self.schedule.in_flight == len(self.sent) <= self.TOGETHER
        for i, lane in enumerate(self.schedule.lanes):
            assert lane.in_flight == sum(t.lane == i for t in self.sent) <= max(self.EACH, self.GROWS)
            assert 1 <= lane.concurrency.limit <= max(self.EACH, self.GROWS)

    @invariant()
    def nobody_starves(self) -> None:
        assert all(self.overtaken[t] <= HARD * self.most_waiting for t in self.waiting)

    def teardown(self) -> None:
        """Whatever happened, the rest is sent in the end, each once."""
        while self.waiting:
            for ticket in self.sent:
                self.schedule.ended(ticket, self.now, tokens=1)
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


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=25), st.integers(0, 10**6))
def test_whatever_is_cancelled_or_fails_at_any_moment_the_others_get_their_own_reply(
    prompts: list[int], seed: int
) -> None:
    chance = random.Random(seed)
    flying: dict[int, tuple[str, asyncio.Future[Response]]] = {}

    async def answer(request: Request) -> Response:
        number, future = len(flying) + chance.randrange(10**9), asyncio.get_running_loop().create_future()
        flying[number] = (request.prompt or "", future)
        try:
            return await future
        finally:
            del flying[number]

    async def play() -> None:
        layers = Shared(Retrying(Scheduled(FakeBackend(answer), Scheduler(each=3)), tries=100, base_s=0.0))
        tasks = [asyncio.create_task(layers.send(ask("p", str(i)))) for i in prompts]
        rejected: set[str] = set()
        cancels, steps = chance.randrange(len(tasks) + 1), 0
        while not all(task.done() for task in tasks):
            assert (steps := steps + 1) < 10_000, "somebody waits for ever"
            for _ in range(chance.randrange(4)):  # another step of the event loop each: any moment
                await asyncio.sleep(0)
            assert len(flying) <= 3
            asked = [prompt for prompt, _ in flying.values()]
            assert len(set(asked)) == len(asked), "sent twice at once"
            if cancels and chance.random() < 0.3:
                cancels -= 1
                chance.choice(tasks).cancel()
            elif flying:
                prompt, future = chance.choice(list(flying.values()))
                how = chance.choice(["ok", "ok", "busy", "failed", "refused"])
                if how == "refused":
                    rejected.add(prompt)
                if not future.done():
                    _end(future, how, prompt)
        for i, task in zip(prompts, tasks, strict=True):
            if not task.cancelled():
                problem = task.exception()
                own = f"p\n\n{i}"
                assert own in rejected if problem else task.result().text == own
        scheduler = layers.scheduler
        assert len(scheduler) == scheduler.in_flight == layers.traffic.in_flight == 0

    asyncio.run(play())


def _end(future: asyncio.Future[Response], how: str, prompt: str) -> None:
    if how == "ok":
        future.set_result(Response(text=prompt, usage=Usage(completion_tokens=1)))
    else:
        kinds = {"busy": Overloaded, "failed": ServerFailed, "refused": RequestRejected}
        future.set_exception(kinds[how]("", status={"busy": 503, "failed": 500, "refused": 400}[how]))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_a_rare_prefix_is_not_starved_by_a_popular_one(seed: int) -> None:
    rng = random.Random(seed)
    schedule = Scheduler(each=2)
    lonely = schedule.submit(ask("rare", "question", max_tokens=1))
    under_way = []
    for i in range(300):
        for _ in range(rng.randint(1, 3) if i < 40 else 1):
            schedule.submit(ask("popular", str(rng.random()), max_tokens=500))
        while (ticket := schedule.next(i)) is not None:
            if ticket is lonely:
                return
            under_way.append(ticket)
        schedule.ended(under_way.pop(rng.randrange(len(under_way))), i, tokens=3)
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
    schedule = Scheduler(each=1, prior=lambda request: prior[request.prompt[-1]])
    for question in "xyz":
        for shared in ("s\n\np1", "s\n\np2", "t"):
            if (shared, question) != ("s\n\np1", "y"):
                schedule.submit(ask(shared, question))
    order = drain(schedule)
    assert order == [
        f"{p}\n\n{q}" for p in ("s\n\np2", "s\n\np1", "t") for q in "zyx" if (p[-1], q) != ("1", "y")
    ]


def test_what_would_outlast_the_rest_goes_early_even_from_a_small_group() -> None:
    schedule = Scheduler(each=4, prior=lambda request: 1000 if "long" in request.prompt else 10)
    for i in range(40):
        schedule.submit(ask("popular", str(i), max_tokens=2000))
    schedule.submit(ask("rare", "long", max_tokens=2000))
    first = [schedule.next(0.0) for _ in range(4)]
    assert "rare\n\nlong" in {ticket.request.prompt for ticket in first}


def test_lengths_are_learned_by_prefix_then_by_what_is_alike() -> None:
    schedule = Scheduler(each=100)
    assert schedule.submit(ask("new", "1")).length == 100
    schedule.submit(ask("s", "p", "0"))
    for i in range(5):
        ticket = schedule.submit(ask("s", "p", f"seen {i}"))
        while schedule.next(0.0):
            pass
        schedule.ended(ticket, 0.0, tokens=20)
    assert schedule.submit(ask("s", "p", "more")).length == 20
    assert schedule.submit(ask("elsewhere", "q")).length == 20
    assert schedule.submit(ask("s", "p", "judge", max_tokens=7)).length == 7
    assert schedule.submit(Request(prompt="s", continuation=" yes")).length == 1


def test_a_prefix_stays_at_its_endpoint_while_both_are_busy() -> None:
    schedule = Scheduler(["http://a", "http://b"], each=2)
    rng = random.Random(1)
    for p in range(20):
        schedule.submit(ask(f"p{p}", "first"))  # a prefix is known when it comes for the second time
    drain(schedule)
    for _ in range(400):
        schedule.submit(ask(f"p{rng.randrange(20)}", str(rng.random())))
    seen: dict[str, set[int]] = {}
    under_way: list[Ticket] = []
    while True:
        while (ticket := schedule.next(0.0)) is not None:
            under_way.append(ticket)
            seen.setdefault(ticket.request.prompt.split()[0], set()).add(ticket.lane)
        if not under_way:
            break
        schedule.ended(under_way.pop(rng.randrange(len(under_way))), 0.0, tokens=1)
    assert sum(len(lanes) for lanes in seen.values()) <= 24  # of 20 if nothing ever moved, 40 by chance


def test_a_dead_endpoint_is_left_alone_and_taken_back() -> None:
    schedule = Scheduler(["http://dead", "http://well"], each=4)
    for i in range(60):
        schedule.submit(ask(str(i)))

    def turn(now: float) -> int:
        """Everything that is sent now ends; how many went to the dead one."""
        tickets = list(iter(lambda: schedule.next(now), None))
        for ticket in tickets:
            broken = ticket.lane == 0 and now < 6
            problem = ServerFailed("", status=502) if broken else None
            schedule.ended(ticket, now, problem=problem, tokens=None if broken else 1)
        return sum(t.lane == 0 for t in tickets)

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
        gauge.ended(begun, now, tokens, full=True)
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
    schedule = Scheduler(each=64)
    for i in range(64):
        schedule.submit(ask(str(i)))
    for ticket in list(iter(lambda: schedule.next(0.0), None)):
        schedule.ended(ticket, 0.0, problem=problem)
    assert schedule.lanes[0].concurrency.limit == 48


def test_a_few_overloads_by_chance_do_not_slow_a_run_down() -> None:
    schedule, rng = Scheduler(each=64), random.Random(5)
    for i in range(3_000):
        schedule.submit(ask(str(i)))
        while (ticket := schedule.next(i)) is not None:
            busy = i > 100 and rng.random() < 0.03
            schedule.ended(ticket, i, problem=Overloaded("") if busy else None, tokens=None if busy else 5)
    assert schedule.lanes[0].concurrency.limit >= 48


async def test_an_endpoint_that_asks_for_time_gets_it_and_the_other_goes_on() -> None:
    """Also by what waits in the queue, which the retry layer has let through already."""
    sent: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    class Two:
        endpoints = Endpoints(("http://busy", "http://well"))
        max_inflight = 4
        refusals = 2

        async def send(self, request: Request) -> Response:
            return await self.endpoints.call(self.exchange)

        async def exchange(self, url: str) -> Response:
            sent.append((url, loop.time()))
            await asyncio.sleep(0.01)
            if url == "http://busy" and self.refusals:
                self.refusals -= 1
                raise Overloaded("", status=429, retry_after=0.4)
            return Response(text=url)

    two = wrap(Two())
    replies = await asyncio.gather(*(two.send(ask(str(i))) for i in range(60)))
    assert len(replies) == 60
    busy = [at - sent[0][1] for url, at in sent if url == "http://busy"]
    assert sum(at < 0.4 for at in busy) == 2  # what was under way when it asked
    sent.clear()

    alone = Two()
    alone.endpoints, alone.refusals = Endpoints(("http://busy",)), 4
    one = wrap(alone)
    assert len(await asyncio.gather(*(one.send(ask(str(i))) for i in range(20)))) == 20
    times = [at - sent[0][1] for _, at in sent]
    assert sum(at < 0.4 for at in times) == 4
    assert len(times) == 24


async def test_equal_requests_in_flight_are_sent_once() -> None:
    gate = asyncio.Event()

    async def answer(request: Request) -> str:
        await gate.wait()
        return f"{request.prompt}{request.repeat}"

    fake = FakeBackend(answer)
    backend = wrap(fake)
    asked = [ask("a"), ask("a"), ask("b"), Request(prompt="a", repeat=1, max_tokens=100)]
    tasks = [asyncio.create_task(backend.send(request)) for request in asked]
    await asyncio.sleep(0.01)
    gate.set()
    assert [r.text for r in await asyncio.gather(*tasks)] == ["a0", "a0", "b0", "a1"]
    assert [t.result().from_cache for t in tasks] == [False, True, False, False]
    assert len(fake.requests) == 3
    await backend.send(ask("a"))
    assert len(fake.requests) == 4


async def test_a_failure_is_shared_once_and_not_kept() -> None:
    replies = [RequestRejected("no", status=400), "yes"]

    async def answer(request: Request) -> str:
        await asyncio.sleep(0.01)
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    fake = FakeBackend(answer)
    backend = Shared(fake)
    ended = await asyncio.gather(backend.send(ask("a")), backend.send(ask("a")), return_exceptions=True)
    assert [type(e) for e in ended] == [RequestRejected, RequestRejected]
    assert len(fake.requests) == 1
    assert (await backend.send(ask("a"))).text == "yes"


async def test_where_the_sender_is_cancelled_another_one_sends() -> None:
    gate = asyncio.Event()

    async def answer(request: Request) -> str:
        await gate.wait()
        return "ok"

    fake = FakeBackend(answer)
    backend = Shared(fake)
    first, second, third = [asyncio.create_task(backend.send(ask("a"))) for _ in range(3)]
    await asyncio.sleep(0.01)
    first.cancel()
    third.cancel()
    await asyncio.sleep(0.01)
    gate.set()
    assert (await second).text == "ok"
    assert first.cancelled()
    assert third.cancelled()
    assert len(fake.requests) == 2


async def test_cancelled_and_failed_requests_give_their_slots_back() -> None:
    rng = random.Random(3)
    running = most = 0

    async def answer(request: Request) -> Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(rng.random() * 0.004)
            if rng.random() < 0.3:
                raise RequestRejected("no", status=400)
            return Response(text=request.prompt or "", usage=Usage(completion_tokens=3))
        finally:
            running -= 1

    layer = Scheduled(FakeBackend(answer), Scheduler(each=5))
    tasks = [asyncio.create_task(layer.send(ask("p", str(i)))) for i in range(400)]
    for _ in range(60):
        await asyncio.sleep(0.001)
        for task in rng.sample(tasks, 3):
            task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = {type(e) for e in ended}
    assert kinds == {Response, RequestRejected, asyncio.CancelledError}
    assert all(e.text == f"p\n\n{i}" for i, e in enumerate(ended) if isinstance(e, Response))
    assert most == 5
    assert len(layer.scheduler) == layer.scheduler.in_flight == running == 0


async def test_what_is_ready_together_is_ordered_before_the_first_goes() -> None:
    fake = FakeBackend(lambda request: "")
    layer = Scheduled(fake, Scheduler(each=1))
    asked = [ask(f"p{i % 3}", str(i)) for i in range(12)]
    await asyncio.gather(*map(layer.send, asked))
    prefixes = [request.prompt.split()[0] for request in fake.requests]
    assert sorted(prefixes) == sorted(prefixes, key=prefixes.index) or len(set(prefixes[:4])) == 1


async def test_where_no_connection_is_made_another_endpoint_takes_the_request() -> None:
    class Two:
        endpoints = Endpoints(("http://dead", "http://well"))
        max_inflight = 8

        async def send(self, request: Request) -> Response:
            async def exchange(url: str) -> Response:
                await asyncio.sleep(0)
                if url == "http://dead":
                    raise Unreachable("nothing answers")
                return Response(text=url)

            return await self.endpoints.call(exchange)

    replies = await asyncio.gather(*(wrap(Two()).send(ask(str(i))) for i in range(40)))
    assert {r.text for r in replies} == {"http://well"}
    assert {r.retries for r in replies} == {0}


@pytest.fixture
def simserver(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
    return importlib.import_module("benchmarks.simserver.http")


@pytest.mark.parametrize("cache", [24_000, 200_000])
def test_shuffled_rag_work_ends_near_the_best_possible_time(simserver: Any, cache: int) -> None:
    from benchmarks.simserver.clairvoyant import floor
    from benchmarks.simserver.drive import in_order, known, scheduled
    from benchmarks.simserver.server import Server
    from benchmarks.simserver.work import rag

    items = rag(seed=11)

    def servers() -> list[Any]:
        return [Server(cache=cache)]

    bound = floor(items, servers, 64)
    first = scheduled(items, servers(), 64).makespan
    again = scheduled(items, servers(), 64, prior=known(items, "earlier")).makespan
    assert first <= 1.2 * bound
    assert again <= 1.1 * bound
    if cache == 24_000:
        assert first < 0.6 * in_order(items, servers(), 64).makespan


@pytest.mark.parametrize("faults", ["", "500=0.1,reset=0.1,garbage=0.1,429=0.02"])
async def test_over_real_http_every_request_gets_its_own_reply(simserver: Any, faults: str) -> None:
    from benchmarks.simserver.server import Server
    from benchmarks.simserver.work import rag

    live = simserver.Live(Server(slots=16), scale=200.0, seed=1, faults=simserver.read_faults(faults))
    runner = web.AppRunner(live.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    backend = load(f"openai:sim@http://127.0.0.1:{port}")
    layers = Shared(Retrying(Scheduled(backend, Scheduler(backend.endpoints.urls, each=16)), base_s=0.01))
    items = rag(seed=1, n=200, prefixes=8)
    replies = await asyncio.gather(*(layers.send(item.request) for item in items))
    await backend.close()
    await runner.cleanup()
    assert len({reply.text for reply in replies}) == len(items)
    expected = {f"reply {zlib.crc32(item.request.messages[0].content.encode(), 1)}" for item in items}
    assert {reply.text for reply in replies} == expected
    assert sum(reply.retries for reply in replies) >= (20 if faults else 0)
    if not faults:
        assert live.most == 16
