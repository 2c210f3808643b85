"""What servers say of their load, and what the scheduler makes of it."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from evalkit.models import load
from evalkit.models.middleware.stack import scheduler_of
from evalkit.models.openai.server_load import read_loads, read_metrics
from evalkit.models.schedule.endpoint import Concurrency
from evalkit.models.schedule.load_monitor import watch
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Load
from evalkit.types import Request, Requirements

# From SGLang 0.5.23 with two data-parallel ranks, without what is not read here.
PAGE = {
    "timestamp": "2026-11-20T10:00:00+00:00",
    "version": "0.5.23",
    "loads": [
        {"dp_rank": 0, "num_running_reqs": 40, "num_waiting_reqs": 7, "max_running_requests": 48},
        {"dp_rank": 1, "num_running_reqs": 41, "num_waiting_reqs": 5, "max_running_requests": 48},
    ],
}
VLLM = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_running{engine="1",model_name="m"} 13.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 3.0
"""


def test_pages_of_servers() -> None:
    assert read_loads(PAGE) == Load(81, 12, 96)
    assert read_loads(None) is read_loads({"detail": "Not Found"}) is None
    assert read_metrics(VLLM) == Load(25, 3)
    assert read_metrics("llamacpp:requests_processing 4\nllamacpp:requests_deferred 9\n") == Load(4, 9)
    assert read_metrics("process_cpu_seconds_total 3.5\n") is None


@pytest.mark.parametrize("holds", [3, 40, 200, 256])
def test_what_waits_at_the_server_is_taken_back_and_given_again(holds: int) -> None:
    gauge = Concurrency(256, 256)

    def ask_often(now: float) -> None:
        for _ in range(20):
            gauge.observe_queue(min(holds, gauge.limit), max(0, gauge.limit - holds), now)

    ask_often(1.0)
    assert holds <= gauge.limit <= max(holds + 2, 1.15 * holds)
    holds = 256  # shorter prompts now: more fit into its memory
    ask_often(2.0)
    assert gauge.limit == 256


async def test_sglang_begins_with_what_it_runs_and_each_endpoint_with_its_own(script) -> None:
    async def loads(request: web.Request, body: dict) -> web.Response:
        return web.json_response(PAGE)

    script.replies["/v1/loads"] = loads
    backend = load(f"sglang:tiny@{script.url}")
    assert (await backend.probe(Requirements())).info.max_running == 96
    assert scheduler_of(backend.traits).endpoints[0].concurrency.limit == 96
    await backend.close()
    two = Scheduler(["a", "b"], max_per_endpoint=256, slots={"a": 8})
    assert [(c.limit, c.most) for c in (endpoint.concurrency for endpoint in two.endpoints)] == [
        (8, 8),
        (64, 256),
    ]


async def test_only_a_full_endpoint_is_asked_and_only_what_waits_twice_counts(script) -> None:
    waiting = [30, 0, 30, 30]

    async def loads(request: web.Request, body: dict) -> web.Response:
        now = waiting.pop(0) if waiting else 0
        rank = {"num_running_reqs": 64 - now, "num_waiting_reqs": now, "max_running_requests": 64}
        return web.json_response({"loads": [rank]})

    script.replies["/v1/loads"] = loads
    backend = load(f"sglang:tiny@{script.url}")
    schedule = Scheduler(backend.endpoints.urls, per_endpoint=64)
    watching = asyncio.create_task(watch(backend, schedule, every_s=0.01))
    await asyncio.sleep(0.1)
    assert not script.seen  # it has nothing to do
    for i in range(64):
        schedule.submit(Request(prompt=str(i)))
    while schedule.next(0.0) is not None:
        pass
    limits = []
    while not limits or limits[-1] == 64:
        await asyncio.sleep(0.01)
        limits.append(schedule.endpoints[0].concurrency.limit)
    watching.cancel()
    await backend.close()
    assert not waiting
    assert limits[-1] == 34 + 1 + 34 // 8


@pytest.mark.parametrize("page", [None, "<html>welcome</html>"])
async def test_a_server_that_says_nothing_is_not_asked_again(script, page: str | None) -> None:
    async def welcome(request: web.Request, body: dict) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    if page is not None:
        script.replies["/v1/loads"] = welcome
    backend = load(f"openai:tiny@{script.url}")
    schedule = Scheduler(backend.endpoints.urls, per_endpoint=1)
    schedule.submit(Request(prompt="a"))
    schedule.next(0.0)
    await asyncio.wait_for(watch(backend, schedule, every_s=0.01), 5)
    assert [path for path, _ in script.seen] == ["/v1/loads", "/metrics"][: 2 if page is None else 1]
    await backend.close()
