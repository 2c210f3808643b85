"""Running a workload on simulated servers in virtual time, in a fixed order or by evalkit's scheduler."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.simserver.server import Job, Server
from benchmarks.simserver.work import Item
from evalkit.models.schedule.lengths import Prior
from evalkit.models.schedule.scheduler import Scheduler


@dataclass(frozen=True)
class Result:
    """The virtual seconds until the last reply, and the share of prompt tokens from the caches."""

    makespan: float
    hits: float


def in_order(items: Sequence[Item], servers: Sequence[Server], inflight: int) -> Result:
    """Send the items in their order to the server with the fewest in flight, at most ``inflight`` at each."""
    waiting, load = deque(items), [0] * len(servers)

    def dispatch(now: float) -> None:
        while waiting and min(load) < inflight:
            at = load.index(min(load))
            load[at] += 1
            item = waiting.popleft()
            servers[at].submit(item.job((at, item)))

    def ended(job: Job, now: float) -> None:
        at, item = job.tag
        load[at] -= 1
        if item.then is not None:
            waiting.append(item.then)

    return _run(servers, dispatch, ended)


def scheduled(
    items: Sequence[Item],
    servers: Sequence[Server],
    inflight: int,
    *,
    window: int = 2_048,
    prior: Prior | None = None,
    grows: int = 0,
    sent: list[Item] | None = None,
) -> Result:
    """Send the items by evalkit's scheduler, which sees ``window`` requests at a time, as in the engine.

    ``sent`` receives the requests in the order in which they were sent.
    """
    names = [f"http://{i}/v1" for i in range(len(servers))]
    scheduler = Scheduler(names, per_endpoint=inflight, max_per_endpoint=grows)
    coming = iter(items)
    of: dict[int, Item] = {}

    def feed(some: Iterable[Item]) -> None:
        for item in some:
            of[scheduler.submit(item.request, prior and prior(item.request)).number] = item

    def dispatch(now: float) -> None:
        while (queued := scheduler.next(now)) is not None:
            item = of[queued.number]
            servers[queued.endpoint].submit(item.job(queued))
            if sent is not None:
                sent.append(item)

    def ended(job: Job, now: float) -> None:
        scheduler.finish(job.tag, now, tokens=job.output)
        item = of.pop(job.tag.number)
        feed(itertools.islice(coming, 1) if item.then is None else [item.then])

    feed(itertools.islice(coming, window))
    return _run(servers, dispatch, ended)


def order_of(items: Sequence[Item], servers: Sequence[Server], inflight: int) -> list[Item]:
    """Return the order of evalkit's scheduler if it sees all items and the true lengths."""
    sent: list[Item] = []
    scheduled(items, servers, inflight, window=len(items), prior=known(items, "output"), sent=sent)
    return sent


def known(items: Sequence[Item], length: str) -> Prior:
    """Return a history of ``output`` (the true lengths) or ``earlier`` (the lengths of an earlier run)."""
    both = [part for item in items for part in (item, item.then) if part is not None]
    lengths = {id(item.request): getattr(item, length) for item in both}
    return lambda request: lengths[id(request)]


def _run(servers: Sequence[Server], dispatch: Callable, ended: Callable) -> Result:
    now = 0.0
    dispatch(now)
    while (then := min(server.when() for server in servers)) < float("inf"):
        now = then
        over = [job for server in servers for job in server.advance(now)]
        for job in over:
            ended(job, now)
        dispatch(now)
    prompt = sum(server.prompt_tokens for server in servers)
    return Result(now, sum(server.cached_tokens for server in servers) / max(1, prompt))
