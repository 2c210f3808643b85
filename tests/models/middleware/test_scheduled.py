"""The layers that share and schedule: every caller gets its own reply, whatever is cancelled or fails."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.errors import Overloaded, RequestRejected, ServerFailed, SetupError
from evalkit.models import wrap
from evalkit.models.connect import connect
from evalkit.models.fake import FakeBackend
from evalkit.models.middleware.call_stats import current
from evalkit.models.middleware.coalesced import Coalesced
from evalkit.models.middleware.retrying import Retrying
from evalkit.models.middleware.scheduled import Scheduled
from evalkit.models.openai.transport import Unreachable
from evalkit.models.schedule.limits import TokenBucket
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend, BackendTraits, RateLimits
from evalkit.types import Request, Requirements, Response, Usage
from tests.models.schedule.asking import ask


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
        scheduler = Scheduler(per_endpoint=3)
        scheduler.breaker.FIRST_S = scheduler.breaker.LONGEST_S = (
            0.0  # no pause: steps are counted, not seconds
        )
        layers = Coalesced(Retrying(Scheduled(FakeBackend(answer), scheduler), tries=100, base_s=0.0))
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
        assert len(scheduler) == scheduler.in_flight == current.get().in_flight == 0

    asyncio.run(play())


def _end(future: asyncio.Future[Response], how: str, prompt: str) -> None:
    if how == "ok":
        future.set_result(Response(text=prompt, usage=Usage(completion_tokens=1)))
    else:
        kinds = {"busy": Overloaded, "failed": ServerFailed, "refused": RequestRejected}
        future.set_exception(kinds[how]("", status={"busy": 503, "failed": 500, "refused": 400}[how]))


async def test_an_endpoint_that_asks_for_time_gets_it_and_the_other_goes_on() -> None:
    """Also by what waits in the queue, which the retry layer has let through already."""
    sent: list[tuple[str, float]] = []
    loop = asyncio.get_running_loop()

    class Two(Backend):
        name = "two"
        traits = BackendTraits(endpoints=("http://busy", "http://well"), max_inflight=4)
        refusals = 2

        async def send(self, request: Request) -> Response:
            raise AssertionError("the schedule names the endpoint")

        async def send_to(self, request: Request, endpoint: str) -> tuple[Response, RateLimits]:
            sent.append((endpoint, loop.time()))
            await asyncio.sleep(0.01)
            if endpoint == "http://busy" and self.refusals:
                self.refusals -= 1
                raise Overloaded("", status=429, retry_after=0.4)
            return Response(text=endpoint), {}

    two = wrap(Two())
    replies = await asyncio.gather(*(two.send(ask(str(i))) for i in range(60)))
    assert len(replies) == 60
    busy = [at - sent[0][1] for url, at in sent if url == "http://busy"]
    assert sum(at < 0.4 for at in busy) == 2  # what was under way when it asked
    sent.clear()

    alone = Two()
    alone.traits, alone.refusals = BackendTraits(endpoints=("http://busy",), max_inflight=4), 4
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
    backend = Coalesced(fake)
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
    backend = Coalesced(fake)
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

    layer = Scheduled(FakeBackend(answer), Scheduler(per_endpoint=5))
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
    layer = Scheduled(fake, Scheduler(per_endpoint=1))
    asked = [ask(f"p{i % 3}", str(i)) for i in range(12)]
    await asyncio.gather(*map(layer.send, asked))
    prefixes = [request.prompt.split()[0] for request in fake.requests]
    assert sorted(prefixes) == sorted(prefixes, key=prefixes.index) or len(set(prefixes[:4])) == 1


async def test_where_no_connection_is_made_another_endpoint_takes_the_request() -> None:
    class Two(Backend):
        name = "two"
        traits = BackendTraits(endpoints=("http://dead", "http://well"), max_inflight=8)

        async def send(self, request: Request) -> Response:
            raise AssertionError("the schedule names the endpoint")

        async def send_to(self, request: Request, endpoint: str) -> tuple[Response, RateLimits]:
            await asyncio.sleep(0)
            if endpoint == "http://dead":
                raise Unreachable("nothing answers")
            return Response(text=endpoint), {}

    replies = await asyncio.gather(*(wrap(Two()).send(ask(str(i))) for i in range(40)))
    assert {r.text for r in replies} == {"http://well"}
    assert {r.retries for r in replies} == {0}


async def test_a_judge_on_the_same_server_stands_in_the_same_queue(script: Any, tmp_path: Path) -> None:
    running = most = 0

    async def answer(request: web.Request, body: dict) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        choice = {"message": {"content": body["messages"][0]["content"]}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice]})

    script.chat(answer)
    home: dict[str, Any] = {
        "stop": asyncio.Event(),
        "responses": tmp_path / "responses.db",
        "needs": Requirements(),
    }
    async with (
        connect(f"openai:tiny@{script.url}", max_inflight=3, **home) as (_, model),
        connect(f"openai:tinier@{script.url}", **home) as (_, judge),
    ):
        replies = await asyncio.gather(*(who.generate(f"{i}") for i in range(10) for who in (model, judge)))
    assert [reply.text for reply in replies] == [str(i) for i in range(10) for _ in range(2)]
    assert most == 3


async def test_an_adapter_that_returns_no_response_stops_the_run_and_is_named() -> None:
    class Careless(Backend):
        name = "careless:one"

        async def send(self, request: Request) -> Response:
            return "hello"  # type: ignore[return-value]

    with pytest.raises(SetupError, match="the adapter of careless:one returned str, not a Response"):
        await wrap(Careless()).send(ask("1"))


class Ticking(asyncio.SelectorEventLoop):
    """An event loop that never waits: its clock goes on by 30 ms whenever somebody looks at it.

    Timers come early, as uvloop's do, which rounds to milliseconds.
    """

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()
        select = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = lambda timeout=None: select(0)  # type: ignore[attr-defined]

    def time(self) -> float:
        self.now += 0.03
        return self.now

    def call_at(self, when: float, *args: Any, **options: Any) -> asyncio.TimerHandle:
        return super().call_at(when - 0.08, *args, **options)


def test_a_rate_that_opens_between_two_looks_at_the_clock_leaves_nobody_waiting() -> None:
    async def answer(request: Request) -> Response:
        return Response(text="yes")

    async def play() -> list[Response]:
        scheduler = Scheduler()
        scheduler.endpoints[0].requests = TokenBucket(60)
        layer = Scheduled(FakeBackend(answer), scheduler)
        return await asyncio.wait_for(asyncio.gather(*(layer.send(ask("p", str(i))) for i in range(20))), 600)

    with asyncio.Runner(loop_factory=Ticking) as runner:
        assert len(runner.run(play())) == 20
