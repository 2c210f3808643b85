"""Polls busy servers for their queues and lowers the concurrency limit where requests pile up."""

from __future__ import annotations

import asyncio

from evalkit.errors import ModelError
from evalkit.models.schedule.endpoint import Endpoint
from evalkit.models.schedule.scheduler import Scheduler
from evalkit.protocols import Backend, Load

EVERY_S = 5.0


async def watch(backend: Backend, scheduler: Scheduler, every_s: float = EVERY_S) -> None:
    """Poll each endpoint that is near its limit every ``every_s`` seconds, until cancelled.

    An endpoint that does not report its load is not asked again.
    """
    polled = {endpoint.name: endpoint for endpoint in scheduler.endpoints}
    previous: dict[str, Load] = {}
    reporting: set[str] = set()
    while polled:
        await asyncio.sleep(every_s)
        for name, endpoint in list(polled.items()):
            if endpoint.free() > endpoint.concurrency.limit // 8:  # with free slots, nothing waits long
                previous.pop(name, None)
                continue
            try:
                load = await backend.load(name)
            except ModelError:  # the requests themselves show whether the endpoint is healthy
                if name in reporting:
                    continue
                load = None  # not the expected kind of page
            if load is None:
                del polled[name]
                continue
            reporting.add(name)
            if (last := previous.pop(name, None)) is None:
                previous[name] = load
            else:
                _report_queue(endpoint, last, load)


def _report_queue(endpoint: Endpoint, last: Load, load: Load) -> None:
    """Report to the endpoint's limit what both polls saw waiting, in proportion to our part of the load."""
    waiting, running = min(last.waiting, load.waiting), max(last.running, load.running)
    ours = min(1.0, endpoint.in_flight / max(1, running + waiting))
    now = asyncio.get_running_loop().time()
    endpoint.concurrency.observe_queue(round(ours * running), round(ours * waiting), now)
