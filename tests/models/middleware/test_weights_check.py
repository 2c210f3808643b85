"""When two answers to one request are those of the same weights."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from evalkit.errors import NotCached
from evalkit.models.fake import FakeBackend
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.cached import Cached
from evalkit.models.middleware.call_stats import CallStats
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.models.middleware.weights_check import agree
from evalkit.types import Message, Request, Response


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Response(text="yes"), Response(text=" yes\n", latency_s=3.0, from_cache=True), True),
        (Response(text="yes"), Response(text="no"), False),
        (Response(text="A", reasoning="first"), Response(text="A", reasoning="second"), False),
        (Response(text="x" * 200 + "one end"), Response(text="x" * 200 + "another"), True),
        (Response(text="A", model="tiny-1"), Response(text="A", model="tiny-2"), False),
        (Response(text="A", model="tiny-1"), Response(text="A"), True),
        (Response(text="", logprobs=(-1.0, -2.0)), Response(text="", logprobs=(-1.1, -1.9)), True),
        (Response(text="", logprobs=(-1.0, -2.0)), Response(text="", logprobs=(-1.0, -2.5)), False),
        (Response(text="", logprobs=(-1.0, -2.0)), Response(text="", logprobs=(-1.0,)), False),
        (Response(text="", logprobs=(-1.0,)), Response(text=""), False),
    ],
)
def test_answers_agree(one: Response, other: Response, same: bool) -> None:
    assert agree(one, other) is agree(other, one) is same


def scored(logprob: float) -> FakeBackend:
    return FakeBackend(lambda request: Response(text="", logprobs=(logprob,)))


async def ask(server: FakeBackend, cache: ResponseCache, mode: str = "on") -> Response:
    """Ask in a run that begins now."""
    before = call_stats.current.set(CallStats(began=time.time()))
    try:
        request = Request(prompt="The", continuation=" end")
        return await Cached(server, cache, {"model": "m"}, mode=mode).send(request)  # type: ignore[arg-type]
    finally:
        call_stats.current.reset(before)


async def test_new_weights_show_in_log_probabilities(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "r.db")
    await ask(scored(-1.0), cache)
    assert (await ask(scored(-1.1), cache)).logprobs == (-1.0,), "rounding"
    changed = scored(-2.0)
    response = await ask(changed, cache)
    assert (response.logprobs, response.from_cache) == ((-2.0,), False)
    assert len(changed.requests) == 2, "the second answer to compare is the answer of the sample, too"
    assert (await ask(scored(-2.0), cache)).from_cache
    cache.close()


async def test_outdated_answers_are_none_for_a_run_without_a_server(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "r.db")
    other = Request(messages=(Message("user", "asked by the old weights alone"),))
    await Cached(FakeBackend(lambda request: "old"), cache, {"model": "m"}).send(other)
    await ask(scored(-1.0), cache)
    await ask(scored(-2.0), cache)
    assert (await ask(scored(0.0), cache, mode="only")).logprobs == (-2.0,)
    with pytest.raises(NotCached):
        await Cached(scored(0.0), cache, {"model": "m"}, mode="only").send(other)
    cache.close()


async def test_an_answer_of_the_same_run_is_none_of_an_earlier_one(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "r.db")
    counts = CallStats(began=time.time())
    call_stats.current.set(counts)
    cached = Cached(scored(-1.0), cache, {"model": "m"})
    request = Request(prompt="The", continuation=" end")
    await cached.send(request)
    assert (await cached.send(request)).from_cache
    assert (counts.hits, dict(counts.cached)) == (1, {})
    call_stats.current.set(later := CallStats(began=time.time()))
    await cached.send(request)
    assert later.cached["m"].answers == 1
    cache.close()
