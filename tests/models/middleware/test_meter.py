"""What replies cost: counted once, for the sample that asked, and up to a limit of the command."""

from __future__ import annotations

import asyncio

import pytest

from evalkit.errors import SetupError
from evalkit.models import wrap
from evalkit.models.fake import FakeBackend
from evalkit.models.middleware.call_stats import CallStats, current
from evalkit.models.middleware.meter import Meter
from evalkit.models.middleware.response_cache import ResponseCache
from evalkit.models.middleware.spending import Bill, Spending, bill
from evalkit.models.prices import Price, Rates
from evalkit.types import Request, Response, Usage

CENT = Price("c", {"source": "test"}, lambda tokens: Rates(**dict.fromkeys(KEYS, 0.0), request=0.01))
KEYS = ("input", "output", "cached_input", "cache_write", "reasoning", "image")


@pytest.fixture
def counts():
    stats = CallStats()
    before = current.set(stats)
    own = Bill()
    outer = bill.set(own)
    yield stats, own
    bill.reset(outer)
    current.reset(before)


async def reply(request: Request) -> Response:
    await asyncio.sleep(0.01)
    return Response(text="yes", usage=Usage(100, 10))


async def test_equal_requests_are_paid_once_and_cached_ones_not_at_all(counts, tmp_path) -> None:
    stats, own = counts
    backend = FakeBackend(reply)
    cache = ResponseCache(tmp_path / "r.db")
    sender = wrap(backend, cache=cache, meter=Meter("fake", CENT, "model"))
    replies = await asyncio.gather(*(sender.send(Request(prompt="q")) for _ in range(5)))
    assert len(backend.requests) == 1
    assert sum(not response.from_cache for response in replies) == 1
    await sender.send(Request(prompt="q"))
    assert (own.model, own.priced, own.judge) == (0.01, 1, 0.0)
    await sender.send(Request(prompt="other"))
    assert own.model == pytest.approx(0.02)
    assert stats.spent == {"model": pytest.approx(0.02)}
    assert own.of_model(2) == pytest.approx(0.02)
    assert own.of_model(3) is None  # a call that no meter has seen
    cache.close()


async def test_a_judge_is_counted_apart_and_unknown_once_a_price_is_missing(counts) -> None:
    _, own = counts
    await wrap(FakeBackend(reply), meter=Meter("judge", CENT)).send(Request(prompt="q"))
    assert (own.model, own.judge) == (0.0, 0.01)
    await wrap(FakeBackend(reply), meter=Meter("judge", None)).send(Request(prompt="q"))
    assert own.judge is None


async def test_at_the_limit_nothing_more_is_sent(counts) -> None:
    stats, _ = counts
    said: list[str] = []
    stats.spending = Spending(max_cost=0.035, on_limit=said.append)
    backend = FakeBackend(reply, cacheable=False)
    sender = wrap(backend, meter=Meter("fake", CENT, "model", stats.spending))
    for n in range(4):
        await sender.send(Request(prompt=str(n)))
    with pytest.raises(asyncio.CancelledError):
        await sender.send(Request(prompt="one too many"))
    assert len(backend.requests) == 4
    assert said == ["The cost limit is reached (--max-cost 0.035)"]


async def test_a_limit_that_cannot_be_kept_stops_the_run(counts) -> None:
    stats, _ = counts
    stats.spending = Spending(max_tokens=1e6)
    silent = FakeBackend(lambda request: "yes")
    with pytest.raises(SetupError, match="does not report tokens"):
        await wrap(silent, meter=Meter("m", None, "model", stats.spending)).send(Request(prompt="q"))
    stats.spending = Spending(max_cost=1)
    half = FakeBackend(lambda request: Response(text="yes", usage=Usage(0, 10)))
    with pytest.raises(SetupError, match="does not report tokens of prompts and replies, so that --max-cost"):
        await wrap(half, meter=Meter("m", CENT, "model", stats.spending)).send(Request(prompt="q"))
    asked = FakeBackend(reply)
    with pytest.raises(SetupError, match=r'no price of judge:m is known.*\[prices\."judge:m"\]'):
        await wrap(asked, meter=Meter("judge:m", None)).send(Request(prompt="q"))
    assert not asked.requests


async def test_a_filtered_request_costs_nothing_and_stops_nothing(counts) -> None:
    stats, own = counts
    stats.spending = Spending(max_tokens=1e6, max_cost=1)
    kinds = {"bad": Response(text="", finish_reason="refusal"), "odd": Response(text="yes")}
    backend = FakeBackend(
        lambda request: kinds.get(request.prompt) or Response(text="y", usage=Usage(100, 10))
    )
    price = Price("c", {}, lambda tokens: Rates(**dict.fromkeys(KEYS, 1e-6)))
    sender = wrap(backend, meter=Meter("m", price, "model", stats.spending))
    for prompt in ("bad", "good"):
        await sender.send(Request(prompt=prompt))
    assert own.of_model(2) == pytest.approx(110e-6)
    await sender.send(Request(prompt="odd"))  # its server does report tokens, but not here
    assert own.of_model(3) is None


def test_a_model_without_price_and_limit_is_not_metered() -> None:
    assert not Meter("m", None, "model", Spending()).active
    assert Meter("m", None, "model", Spending(max_tokens=1)).active
    assert Meter("m", None, "judge").active
