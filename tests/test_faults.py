"""Whatever a server does wrong, the run ends, every sample has a status, and what passes changes no score."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from benchmarks.simserver.faults import KINDS, read_faults
from benchmarks.simserver.http import Live, reply_to
from benchmarks.simserver.server import Server
from evalkit import Answer, Model, Sample, Status, engine, task
from evalkit.errors import SetupError
from evalkit.metrics import exact_match
from evalkit.models import load
from evalkit.models.layers import Retrying, Scheduled, Shared
from evalkit.progress import Silent
from evalkit.schedule import Scheduler
from evalkit.scoring import Scorer
from evalkit.store.records import SampleRecord

N, SLOTS = 120, 16
# These cost the sample: a reply that is too large or lies elsewhere does not become another one.
FINAL = {"gigantic", "redirect"}
# Nothing is wrong with these: a late reply, one under a wrong name, a second one that nobody asked for.
HARMLESS = {"slow", "type", "two-choices"}
WAYS = {"reply": "", "stream": "&stream=true"}


def samples(n: int) -> list[Sample]:
    """Two of three are answered as they should be."""
    questions = [f"question {i}" for i in range(n)]
    return [Sample(str(i), q, reply_to(q) if i % 3 else "no") for i, q in enumerate(questions)]


@asynccontextmanager
async def serving(faults: str, port: int = 0) -> AsyncIterator[tuple[Live, int]]:
    """The simulated server with these faults, and its port."""
    live = Live(Server(slots=SLOTS), scale=200.0, seed=1, faults=read_faults(faults))
    runner = web.AppRunner(live.application(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield live, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def run(url: str, n: int = N) -> dict[int, SampleRecord]:
    """Run ``n`` samples through all that stands between a task and a server, with short pauses."""
    backend = load(f"openai:sim@{url}")
    layers = Shared(Retrying(Scheduled(backend, Scheduler(backend.endpoints.urls, each=SLOTS)), base_s=0.01))
    stored: dict[int, SampleRecord] = {}

    async def source() -> AsyncIterator[Sample]:
        for sample in samples(n):
            yield sample

    @task(samples(n), metrics=[exact_match()])
    async def sim(sample: Sample, model: Model) -> Answer:
        return Answer(await model.generate(sample.input))

    try:
        with Scorer(sim) as scorer, Silent().bar("", n) as bar:
            work = engine.Work(
                fn=sim.fn, arguments={}, model=Model(layers), samples=source, repeats=1, done=set(), bar=bar,
                scorer=scorer, write=lambda batch: stored.update({r.sequence: r for r in batch}),
            )  # fmt: skip
            await engine.run(work)
    finally:
        await backend.close()
    return stored


def scores(stored: dict[int, SampleRecord]) -> dict[int, float | None]:
    return {i: record.scores[0].value for i, record in stored.items() if record.scores}


RIGHT = {i: float(i % 3 > 0) for i in range(N)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_each_fault_alone(kind: str, way: str) -> None:
    share, timeout = (0.02, 60) if kind == "gigantic" else (0.1, 1)
    async with serving(f"{kind}={share}") as (live, port):
        stored = await run(f"http://127.0.0.1:{port}?timeout={timeout}{WAYS[way]}")
    asked = sum(live.asked.values())
    assert sorted(stored) == list(range(N))
    lost = {i for i, record in stored.items() if record.status is not Status.OK}
    right = {i: value for i, value in RIGHT.items() if i not in lost}
    if kind == "empty":  # an answer as good as any: no more is asked, and it is wrong
        assert asked == N
        assert scores(stored) == right | dict.fromkeys(lost, 0.0)
        assert {stored[i].status for i in lost} == {Status.EMPTY}
        return
    assert scores(stored) == right
    if kind in FINAL:
        assert lost
        assert all(stored[i].error for i in lost)
        assert asked == N
    elif kind in HARMLESS:
        assert (lost, asked) == (set(), N)
    else:
        assert lost == set()
        assert N < asked <= 1.5 * N


@pytest.mark.parametrize("way", WAYS)
async def test_all_faults_that_pass_at_once(way: str) -> None:
    kinds = [kind for kind in KINDS if kind not in FINAL | {"empty"}]
    faults = ",".join(f"{kind}={0.3 / len(kinds)}" for kind in kinds)
    async with serving(faults) as (live, port):
        stored = await run(f"http://127.0.0.1:{port}?timeout=1{WAYS[way]}")
    assert scores(stored) == RIGHT
    assert N < sum(live.asked.values()) <= 1.6 * N


async def test_a_server_that_refuses_connections_for_a_while() -> None:
    async with serving("") as (before, port):
        running = asyncio.create_task(run(f"http://127.0.0.1:{port}"))
        while before.answered.total() < N // 4:
            await asyncio.sleep(0.001)
    await asyncio.sleep(1.5)
    assert not running.done()
    async with serving("", port) as (after, _):
        stored = await running
    assert scores(stored) == RIGHT
    assert (before.asked + after.asked).total() <= N + SLOTS  # what was under way when it went


async def test_a_dead_server_is_not_hammered_and_the_run_ends() -> None:
    async with serving("500=1") as (live, port):
        with pytest.raises(SetupError, match="resume"):
            await run(f"http://127.0.0.1:{port}?down_timeout=3", 2_000)
    assert live.asked.total() < 100
