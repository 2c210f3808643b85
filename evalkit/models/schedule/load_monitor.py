"""Tells the scheduler of requests that pile up at a server."""

from __future__ import annotations

import asyncio

from evalkit.errors import ModelError
from evalkit.models.schedule.endpoint import Endpoint
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend, Load

EVERY_S = 5.0


async def watch(backend: Backend, scheduler: Scheduler, every_s: float = EVERY_S) -> None:
    """Ask every few seconds each busy endpoint that answers such questions, until cancelled."""
    asked = {endpoint.name: endpoint for endpoint in scheduler.endpoints}
    before: dict[str, Load] = {}
    told: set[str] = set()
    while asked:
        await asyncio.sleep(every_s)
        for name, endpoint in list(asked.items()):
            if endpoint.free() > endpoint.concurrency.limit // 8:  # it has room: nothing waits there for long
                before.pop(name, None)
                continue
            try:
                load = await backend.load(name)
            except ModelError:  # the requests themselves tell whether it is well
                if name in told:
                    continue
                load = None  # the page has another form than expected
            if load is None:
                del asked[name]
                continue
            told.add(name)
            if (last := before.pop(name, None)) is None:
                before[name] = load
            else:
                _tell(endpoint, last, load)


def _tell(endpoint: Endpoint, last: Load, load: Load) -> None:
    """What waited twice is no accident. Of what others sent there, nothing is ours to hold back."""
    waiting, running = min(last.waiting, load.waiting), max(last.running, load.running)
    ours = min(1.0, endpoint.in_flight / max(1, running + waiting))
    now = asyncio.get_running_loop().time()
    endpoint.concurrency.saw_waiting(round(ours * running), round(ours * waiting), now)
