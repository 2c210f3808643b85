"""Whatever a server does wrong, the run ends, every sample has a status, and what passes changes no score."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks.simserver.evaluate import SLOTS, serving
from benchmarks.simserver.faults import FINAL, HARMLESS, KINDS
from benchmarks.simserver.http import reply_to
from evalkit import Answer, Model, Sample, Status, task
from evalkit.metrics import exact_match
from evalkit.models import load
from evalkit.models.middleware.coalesced import Coalesced
from evalkit.models.middleware.retrying import Retrying
from evalkit.models.middleware.scheduled import Scheduled
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.run import engine
from evalkit.run.scoring import Scorer
from evalkit.store.records import SampleRecord
from evalkit.util.progress import Silent

N = 120
WAYS = {"reply": "", "stream": "&stream=true"}


def samples(n: int) -> list[Sample]:
    """Two of three are answered as they should be."""
    questions = [f"question {i}" for i in range(n)]
    return [Sample(str(i), q, reply_to(q) if i % 3 else "no") for i, q in enumerate(questions)]


async def run(url: str, n: int = N) -> dict[int, SampleRecord]:
    """Run ``n`` samples through all that stands between a task and a server, with short pauses."""
    backend = load(f"openai:sim@{url}")
    scheduler = Scheduler(backend.endpoints.urls, per_endpoint=SLOTS)
    layers = Coalesced(Retrying(Scheduled(backend, scheduler), base_s=0.01))
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
                fn=sim.fn,
                arguments={},
                model=Model(layers),
                samples=source,
                repeats=1,
                done=set(),
                bar=bar,
                scorer=scorer,
                write=lambda batch: stored.update({r.sequence: r for r in batch}),
            )
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
    async with serving({kind: share}) as (live, port):
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
    kinds = [kind for kind in KINDS if kind not in (*FINAL, "empty")]
    async with serving(dict.fromkeys(kinds, 0.3 / len(kinds))) as (live, port):
        stored = await run(f"http://127.0.0.1:{port}?timeout=1{WAYS[way]}")
    assert scores(stored) == RIGHT
    assert N < sum(live.asked.values()) <= 1.6 * N
