"""What a server tells of a model's weights: the part of its identity that a new checkpoint changes."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evalkit.errors import ModelError
from evalkit.models.openai.http_errors import now

if TYPE_CHECKING:
    from evalkit.models.openai.backend import OpenAIBackend

# Fields of a model's line in /v1/models, or of a page of facts, that change with the weights. ``created`` is
# not among them: for vLLM, SGLang and llama.cpp it is the time of the request.
_FIELDS = (
    "checkpoint",
    "digest",
    "fingerprint",
    "hash",
    "last_modified",
    "modified",
    "modified_at",
    "mtime",
    "revision",
    "sha",
    "sha256",
    "step",
    "system_fingerprint",
    "weight_version",
    "weights",
)
# Pages with such facts, by the owner that /v1/models names; the first page that is there counts.
_PAGES = {
    "llamacpp": ("/props",),
    "vllm": ("/version",),
    "sglang": ("/model_info", "/get_model_info"),
}
_OLLAMA = "library"
_MOST_FILES = 1_000
_STARTED = re.compile(r"^process_start_time_seconds(?:\{.*\})? (\S+)$", re.MULTILINE)


async def page_of(backend: OpenAIBackend, url: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a server tells beside its list of models; empty if there are none.

    ``entry`` is the model's line in ``/v1/models`` of the API base ``url``. Raises ``ModelError``.
    """
    root = url.removesuffix("/v1")
    if entry.get("owned_by") == _OLLAMA:
        tags = await backend.get_json(f"{root}/api/tags")
        models = tags.get("models") if isinstance(tags, dict) else None
        listed = [m for m in models if isinstance(m, dict)] if isinstance(models, list) else []
        return next((model for model in listed if model.get("name") == entry["id"]), {})
    for page in _PAGES.get(str(entry.get("owned_by")), ()):
        if isinstance(facts := await backend.get_json(root + page), dict):
            return facts
    return {}


def weights_of(url: str, path: Any, *told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells weights apart: fields that the server told, and the state of its files.

    ``path`` is where the server read the model; ``files`` is known for servers on this machine.
    """
    facts = {
        name: page[name]
        for page in told
        for name in _FIELDS
        if isinstance(page.get(name), str | int | float) and page[name] != ""
    }
    files = _files(str(path)) if path and _is_here(url) else None
    return {"root": path, **facts, "files": files}


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _files(path: str) -> str | None:
    """Return a hash of the names, sizes and times of the files of a model; None if there are none here."""
    model = Path(path)
    try:
        if not model.is_absolute() or not model.exists():
            return None
        files = sorted(model.iterdir()) if model.is_dir() else [model]
        states = [
            (f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files[:_MOST_FILES] if f.is_file()
        ]
    except (OSError, ValueError):  # not readable for this user, or no path at all
        return None
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16] if states else None


async def started_at(backend: OpenAIBackend, url: str) -> float | None:
    """Return when the server's process started, in epoch seconds by this machine's clock, if it tells."""
    try:
        page = await backend.transport.get(f"{url.removesuffix('/v1')}/metrics")
    except ModelError:
        return None
    match = _STARTED.search(page.body.decode("utf-8", "replace")) if page.status == 200 else None
    try:
        return time.time() - (now(page.headers) - float(match[1])) if match else None
    except ValueError:
        return None
