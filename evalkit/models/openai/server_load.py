"""Reads how busy a server is, from SGLang's ``/v1/loads`` or from Prometheus gauges under ``/metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit.protocols import Load

if TYPE_CHECKING:
    from evalkit.models.openai.backend import OpenAIBackend

_RUNNING = ("sglang:num_running_reqs", "vllm:num_requests_running", "llamacpp:requests_processing")
_WAITING = ("sglang:num_queue_reqs", "vllm:num_requests_waiting", "llamacpp:requests_deferred")


async def load_of(backend: OpenAIBackend, url: str) -> Load | None:
    """Return the load of the server at ``url``; None if the server reports none. Raises ``ModelError``."""
    root = url.removesuffix("/v1")
    if (load := read_loads(await backend.get_json(f"{root}/v1/loads?include=core"))) is not None:
        return load
    page = await backend.transport.get(f"{root}/metrics")
    return read_metrics(page.body.decode("utf-8", "replace")) if page.status == 200 else None


def read_loads(document: Any) -> Load | None:
    """Return the load from SGLang's page, the sum over its data-parallel ranks; None if there are none."""
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
    """Return the load from Prometheus' text, each gauge summed over its labels; None without gauges."""
    gauges: dict[str, float] = {}
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        name = name.partition("{")[0]
        if name in _RUNNING or name in _WAITING:
            gauges[name] = gauges.get(name, 0.0) + float(value)
    if not any(name in gauges for name in _WAITING):
        return None
    running = sum(gauges.get(name, 0.0) for name in _RUNNING)
    return Load(round(running), round(sum(gauges.get(name, 0.0) for name in _WAITING)))
