"""Cache, retry and limit around a model that is a function."""

from __future__ import annotations

import asyncio
import time

import pytest

from evalkit.errors import NotCached, Overloaded, ProbeError, RequestRejected, ServerFailed
from evalkit.model import Model
from evalkit.models import load, wrap
from evalkit.models.fake import FakeBackend
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.cached import Cached
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.models.middleware.retrying import Retrying
from evalkit.models.middleware.scheduled import Scheduled
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.types import Message, Request, Requirements, Sample

ASK = Request(messages=(Message("user", "hello"),))


def failing(*errors: Exception) -> FakeBackend:
    """Raises these in turn, then answers."""
    queue = list(errors)

    def answer(request):
        if queue:
            raise queue.pop(0)
        return "ok"

    return FakeBackend(answer)


async def test_only_what_may_succeed_is_tried_again():
    backend = Retrying(failing(ServerFailed("a"), Overloaded("b")), base_s=0.001)
    assert (await backend.send(ASK)).retries == 2
    for final in (RequestRejected("no"), ProbeError("no"), ValueError("bug")):
        fake = failing(final)
        with pytest.raises(type(final)):
            await Retrying(fake, base_s=0.001).send(ASK)
        assert len(fake.requests) == 1


async def test_tries_and_total_time_are_bounded():
    fake = failing(*(ServerFailed(str(i)) for i in range(9)))
    with pytest.raises(ServerFailed, match="2"):
        await Retrying(fake, tries=3, base_s=0.001).send(ASK)
    assert len(fake.requests) == 3
    start = time.monotonic()
    with pytest.raises(Overloaded):  # the server asks for more time than there is: give up at once
        await Retrying(failing(Overloaded("later", retry_after=3600)), total_s=60).send(ASK)
    assert time.monotonic() - start < 5


async def test_all_tries_again_are_at_most_a_hundred_and_half_of_what_was_answered():
    def answer(request):
        if request.seed == 0:
            raise ServerFailed("broken")
        return "ok"

    fake = FakeBackend(answer)
    backend = Retrying(fake, tries=1_000, base_s=0.0)
    with pytest.raises(ServerFailed, match=r"broken.*not tried again.*used up"):
        await backend.send(Request(prompt="?", seed=0))
    assert len(fake.requests) == 1 + 100
    for seed in range(1, 21):
        await backend.send(Request(prompt="?", seed=seed))
    with pytest.raises(ServerFailed, match="used up"):
        await backend.send(Request(prompt="?", seed=0))
    assert len(fake.requests) == 1 + 100 + 20 + 1 + 10


async def test_the_budget_of_tries_is_a_parameter_of_the_model_and_its_end_is_counted():
    backend = load("openai:tiny@http://127.0.0.1:1?retry_budget=0")
    assert backend.traits.retry_budget == 0
    await backend.close()
    fake = failing(*(ServerFailed(str(i)) for i in range(200)))
    retrying = Retrying(fake, budget=2.0, tries=1_000, base_s=0.0)
    before = call_stats.current.set(call_stats.CallStats())
    with pytest.raises(ServerFailed, match=r"100.*used up: 100 and 2 × the answered.*\?retry_budget="):
        await retrying.send(ASK)
    assert call_stats.current.get().given_up == 1
    call_stats.current.reset(before)
    assert len(fake.requests) == 1 + 100
    await Retrying(fake, budget=2.0, tries=1_000, base_s=0.0).send(ASK)
    for _ in range(10):
        await retrying.send(ASK)
    assert retrying._budget == 20


async def test_retry_after_is_obeyed_by_all_requests_together():
    begun: list[float] = []
    first = True

    def answer(request):
        nonlocal first
        begun.append(time.monotonic())
        if first:
            first = False
            raise Overloaded("slow down", retry_after=0.3)
        return "ok"

    backend = Retrying(FakeBackend(answer), base_s=0.001)
    early = asyncio.create_task(backend.send(ASK))
    await asyncio.sleep(0.05)
    await asyncio.gather(early, *(backend.send(ASK) for _ in range(5)))
    assert len(begun) == 7
    assert all(moment - begun[0] >= 0.3 for moment in begun[1:])


async def test_the_limit_holds_and_a_waiting_retry_takes_no_slot():
    running = most = 0
    failed = False

    async def answer(request):
        nonlocal running, most, failed
        if not failed:
            failed = True
            raise ServerFailed("once")
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return "ok"

    backend = Retrying(Scheduled(FakeBackend(answer), Scheduler(per_endpoint=1)), base_s=0.001)
    await asyncio.gather(*(backend.send(ASK) for _ in range(5)))
    assert most == 1
    wide = Scheduled(FakeBackend(answer), Scheduler(per_endpoint=3))
    most = 0
    await asyncio.gather(*(wide.send(ASK) for _ in range(9)))
    assert most == 3


async def test_the_cache_answers_once_per_content(tmp_path):
    cache = ResponseCache(tmp_path / "r.db")
    fake = FakeBackend(lambda request: f"{request.repeat}")
    model = Model(wrap(fake, cache=cache, identity={"model": "a"}))
    sample = Sample("s", "?")
    for _ in range(2):
        texts = [(await model.for_sample(sample, repeat).generate("hi")).text for repeat in range(3)]
        assert texts == ["0", "1", "2"]
    assert len(fake.requests) == 3
    assert (await model.generate("hi")).from_cache
    other = Model(wrap(fake, cache=cache, identity={"model": "b"}))
    assert not (await other.generate("hi")).from_cache
    again = Cached(fake, cache, {"model": "a"}, mode="refresh", namespace="run")
    assert not (await Model(again).generate("hi")).from_cache
    assert (await Model(again).generate("hi")).from_cache  # the same run, resumed, does not pay twice
    offline = Cached(failing(AssertionError("asked")), cache, {"model": "a"}, mode="only")
    assert (await Model(offline).generate("hi")).from_cache
    with pytest.raises(NotCached, match="cache holds no answer"):
        await Model(offline).generate("hello")
    cache.close()


async def test_a_failure_is_never_cached(tmp_path):
    cache = ResponseCache(tmp_path / "r.db")
    backend = Cached(failing(RequestRejected("no")), cache, {})
    with pytest.raises(RequestRejected):
        await backend.send(ASK)
    assert not (await backend.send(ASK)).from_cache
    cache.close()


async def test_baselines_read_the_sample_and_are_never_cached(tmp_path):
    cache = ResponseCache(tmp_path / "r.db")
    backend = load("baseline:gold")
    facts = (await backend.probe(Requirements())).info
    model = Model(wrap(backend, cache=cache, identity=facts.identity))
    for target in ("one", "two"):
        assert (await model.for_sample(Sample("s", "?", target=target)).generate("same")).text == target
    cache.close()
