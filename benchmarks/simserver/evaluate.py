"""Whole runs of evalkit, with cache and store, against the simulated server over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from aiohttp import web

from benchmarks.simserver.http import LiveServer
from benchmarks.simserver.rates import Bucket
from benchmarks.simserver.server import Server
from evalkit.collection.targets import collect
from evalkit.models.middleware.retrying import Retrying
from evalkit.run import runner
from evalkit.run.session import Session
from evalkit.store import open_store
from evalkit.store.records import Run
from evalkit.util.progress import Silent

SLOTS = 16
TASK = """
from benchmarks.simserver.http import reply_to
from evalkit import Answer, Sample, task
from evalkit.metrics import exact_match

def samples(n: int = 40):
    for i in range(n):
        question = f"question {i}"
        yield Sample(str(i), question, reply_to(question) if i % 3 else "no")

@task(samples, metrics=[exact_match()])
async def asked(sample, model, n: int = 40) -> Answer:
    return Answer(await model.generate(sample.input))
"""


@dataclass(frozen=True)
class Outcome:
    """A run, and the status, score and error of each sample, in order."""

    run: Run
    samples: list[tuple[str, float | None, str]]


def right(n: int) -> list[tuple[str, float | None, str]]:
    """Return the samples of a run without faults."""
    return [("ok", float(i % 3 > 0), "") for i in range(n)]


def within_budget(live: LiveServer) -> bool:
    """Return whether the number of retries is within evalkit's limits."""
    again = sum(live.asked.values()) - len(live.asked)
    return again <= Retrying.FLOOR + Retrying.EARNED * len(live.asked)


@asynccontextmanager
async def serving(
    faults: Mapping[str, float],
    *,
    scale: float = 200.0,
    port: int = 0,
    bucket: Bucket | None = None,
    ssl_context: SSLContext | None = None,
    root: str | None = None,
) -> AsyncIterator[tuple[LiveServer, int]]:
    """Start the simulated server with faults, a rate limit, TLS and the model ``root``; yield its port."""
    live = LiveServer(Server(slots=SLOTS), scale=scale, seed=1, faults=dict(faults), root=root)
    application = live.application()
    if bucket is not None:
        bucket.limit(application)
    web_runner = web.AppRunner(application, shutdown_timeout=0.05)
    await web_runner.setup()
    await web.TCPSite(web_runner, "127.0.0.1", port, ssl_context=ssl_context).start()
    try:
        yield live, web_runner.addresses[0][1]
    finally:
        await web_runner.cleanup()


async def evaluate(
    folder: Path, port: int, n: int, params: str = "", *, host: str = "http://127.0.0.1"
) -> Outcome:
    """Run ``n`` samples with a new store in ``folder``."""
    file = folder / "task_asked.py"
    file.write_text(TASK)
    (item,) = collect([str(file)], params={"n": [str(n)]}).items
    model = f"openai:sim@{host}:{port}?timeout=2{params}"
    with open_store(folder / "evalkit.db") as store:
        async with Session(Silent()) as session:
            run = await runner.start(item, model, store, session, runner.Options())
        samples = [
            (record.status.value, next((s.value for s in record.scores), None), record.error or "")
            for record in sorted(store.samples.records(run.id), key=lambda record: record.sequence)
        ]
    return Outcome(run, samples)
