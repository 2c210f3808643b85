"""The adapters by the provider that a model spec names: entry points of the group ``evalkit.models``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from evalkit.errors import UsageError, did_you_mean
from evalkit.models.spec import ModelSpec, parse_spec
from evalkit.protocols import Backend

GROUP = "evalkit.models"


def find(text: str, *, config: Mapping[str, Any] | None = None) -> tuple[ModelSpec, EntryPoint]:
    """Return the parsed spec and its provider's entry point, not yet imported. Raises ``UsageError``."""
    spec = parse_spec(text, config=config)
    providers = {point.name: point for point in entry_points(group=GROUP)}
    if spec.provider not in providers:
        raise UsageError(
            f"no such model provider: {spec.provider!r}.{did_you_mean(spec.provider, providers)} "
            f"Known: {', '.join(sorted(providers))}."
        )
    return spec, providers[spec.provider]


def load(text: str, *, config: Mapping[str, Any] | None = None) -> Backend:
    """Return the backend of a spec, by entry point ``evalkit.models``. Raises ``UsageError``.

    A plug-in's entry point is a callable that takes the ``ModelSpec`` and returns a ``Backend``.
    """
    spec, provider = find(text, config=config)
    backend = provider.load()(spec)
    if not isinstance(backend, Backend):
        raise UsageError(
            f"model provider {spec.provider!r}: {type(backend).__name__} must be a subclass of "
            "evalkit.protocols.Backend (see docs/plug-ins.md)"
        )
    if spec.options.get("batch"):
        _check_batch(spec, backend)
    elif "batch_wait" in spec.options:
        raise UsageError("model parameter batch_wait: goes with batch=true")
    if (asked := spec.reasoning.identity) and not backend.takes_reasoning:
        raise UsageError(
            f"{spec.provider}:{spec.name} cannot be told how long to think: leave out {' and '.join(asked)}"
        )
    if marks := spec.reasoning.marks:
        backend.traits = msgspec.structs.replace(backend.traits, reasoning_marks=marks)
    return backend


def _check_batch(spec: ModelSpec, backend: Backend) -> None:
    """Raise ``UsageError`` for a spec with ``?batch=true`` that no batch interface can follow."""
    if backend.batches() is None:
        raise UsageError(
            f"model parameter batch=true: {spec.provider} has no batch interface. openai:, anthropic: and "
            "gemini: have one"
        )
    for name in ("stream", "rpm", "tpm", "max_inflight"):
        if spec.options.get(name):
            raise UsageError(
                f"model parameter {name}: has no effect with batch=true, where the vendor decides when it "
                "answers. Leave one of the two out"
            )
    if len(spec.urls) > 1:
        raise UsageError(f"{spec.display}: a batch interface has one URL, not {len(spec.urls)}")
    if spec.options.get("api") == "completions":
        raise UsageError(
            "model parameter api=completions: a batch interface takes chats. Leave out batch=true"
        )
