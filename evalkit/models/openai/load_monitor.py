"""How busy a server says it is: SGLang's ``/v1/loads``, else the gauges that vLLM, llama.cpp and SGLang
publish under ``/metrics``. ``watch`` tells the scheduler of requests that pile up there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from evalkit.errors import ModelError
from evalkit.models.schedule.endpoint import Endpoint
from evalkit.models.schedule.scheduler import Scheduler

if TYPE_CHECKING:
    from evalkit.models.openai.backend import OpenAIBackend

EVERY_S = 5.0
_RUNNING = ("sglang:num_running_reqs", "vllm:num_requests_running", "llamacpp:requests_processing")
_WAITING = ("sglang:num_queue_reqs", "vllm:num_requests_waiting", "llamacpp:requests_deferred")


class Load(msgspec.Struct, frozen=True):
    """Requests that a server runs, those that wait there, and how many it runs at most if it says so."""

    running: int
    waiting: int
    most: int | None = None


async def load_of(backend: OpenAIBackend, url: str) -> Load | None:
    """What the server at ``url`` says; None where it says nothing. Raises ``ModelError``."""
    root = url.removesuffix("/v1")
    if (found := read_loads(await backend.get_json(f"{root}/v1/loads?include=core"))) is not None:
        return found
    page = await backend.transport.get(f"{root}/metrics")
    return read_metrics(page.body.decode("utf-8", "replace")) if page.status == 200 else None


def read_loads(document: Any) -> Load | None:
    """SGLang's page: one entry for each data-parallel rank."""
    ranks = document.get("loads") if isinstance(document, dict) else None
    if not ranks:
        return None
    most = sum(rank.get("max_running_requests") or 0 for rank in ranks)
    return Load(
        sum(rank.get("num_running_reqs") or 0 for rank in ranks),
        sum(rank.get("num_waiting_reqs") or 0 for rank in ranks),
        most or None,
    )


def read_metrics(page: str) -> Load | None:
    """Prometheus' text: the sum of a gauge over its labels."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        name = name.partition("{")[0]
        if name in _RUNNING or name in _WAITING:
            found[name] = found.get(name, 0.0) + float(value)
    if not any(name in found for name in _WAITING):
        return None
    running = sum(found.get(name, 0.0) for name in _RUNNING)
    return Load(round(running), round(sum(found.get(name, 0.0) for name in _WAITING)))


async def watch(backend: OpenAIBackend, scheduler: Scheduler, every_s: float = EVERY_S) -> None:
    """Ask every few seconds each busy endpoint that answers such questions, until cancelled."""
    asked = {lane.name: lane for lane in scheduler.endpoints}
    before: dict[str, Load] = {}
    told: set[str] = set()
    while asked:
        await asyncio.sleep(every_s)
        for name, lane in list(asked.items()):
            if lane.free() > lane.concurrency.limit // 8:  # it has room: nothing waits there for long
                before.pop(name, None)
                continue
            try:
                load = await load_of(backend, name)
            except ModelError:  # the requests themselves tell whether it is well
                if name in told:
                    continue
                load = None  # another page than we know of
            if load is None:
                del asked[name]
                continue
            told.add(name)
            if (last := before.pop(name, None)) is None:
                before[name] = load
            else:
                _tell(lane, last, load)


def _tell(lane: Endpoint, last: Load, load: Load) -> None:
    """What waited twice is no accident. Of what others sent there, nothing is ours to hold back."""
    waiting, running = min(last.waiting, load.waiting), max(last.running, load.running)
    ours = min(1.0, lane.in_flight / max(1, running + waiting))
    now = asyncio.get_running_loop().time()
    lane.concurrency.queued(round(ours * running), round(ours * waiting), now)
