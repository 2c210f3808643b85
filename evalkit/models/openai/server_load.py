"""How busy a server says it is: SGLang's ``/v1/loads``, else the gauges that vLLM, llama.cpp and SGLang
publish under ``/metrics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit.protocols import Load

if TYPE_CHECKING:
    from evalkit.models.openai.backend import OpenAIBackend

_RUNNING = ("sglang:num_running_reqs", "vllm:num_requests_running", "llamacpp:requests_processing")
_WAITING = ("sglang:num_queue_reqs", "vllm:num_requests_waiting", "llamacpp:requests_deferred")


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
