"""The scheduler on the simulated server: in virtual time, and over HTTP with faults."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from benchmarks.simserver.clairvoyant import floor
from benchmarks.simserver.drive import in_order, known, scheduled
from benchmarks.simserver.faults import read_faults
from benchmarks.simserver.http import LiveServer, reply_to
from benchmarks.simserver.server import Server
from benchmarks.simserver.work import rag
from evalkit.models import load
from evalkit.models.middleware.coalesced import Coalesced
from evalkit.models.middleware.retrying import Retrying
from evalkit.models.middleware.scheduled import Scheduled
from evalkit.models.schedule.scheduler import Scheduler


@pytest.mark.parametrize("cache", [24_000, 200_000])
def test_shuffled_rag_work_ends_near_the_best_possible_time(cache: int) -> None:
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
async def test_over_real_http_every_request_gets_its_own_reply(faults: str) -> None:

    live = LiveServer(Server(slots=16), scale=200.0, seed=1, faults=read_faults(faults))
    runner = web.AppRunner(live.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    backend = load(f"openai:sim@http://127.0.0.1:{port}")
    layers = Coalesced(
        Retrying(Scheduled(backend, Scheduler(backend.endpoints.urls, per_endpoint=16)), base_s=0.01)
    )
    items = rag(seed=1, n=200, prefixes=8)
    replies = await asyncio.gather(*(layers.send(item.request) for item in items))
    await backend.close()
    await runner.cleanup()
    assert len({reply.text for reply in replies}) == len(items)
    expected = {reply_to(item.request.messages[0].content) for item in items}
    assert {reply.text for reply in replies} == expected
    assert sum(reply.retries for reply in replies) >= (20 if faults else 0)
    if not faults:
        assert live.most == 16
