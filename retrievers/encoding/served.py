"""Embeddings and reranking by a server: ``/v1/embeddings`` and ``/v1/rerank`` of SGLang, OpenAI and others.

Call it from the retrievers' own thread, never from an event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from evalkit.errors import Overloaded, ProbeError, RequestRejected, ServerFailed, UsageError
from evalkit.models.openai.backend import OpenAIBackend
from evalkit.models.providers import load

from .vector_cache import Vectors

_MAX_IN_FLIGHT = 4  # requests, which the server batches
_TEXTS = 64  # per request
_TRIES = 6


class ServedModel:
    """A served model by its spec: ``openai:NAME[@URL]``, ``sglang:NAME@URL``, ``?key_env=…``.

    A request that fails temporarily is tried up to six times. Raises ``ModelError`` if the last try fails,
    ``UsageError`` for a spec that cannot be read.
    """

    def __init__(self, spec: str) -> None:
        self.identity = spec
        self.model = _served(spec).model

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the server's vectors, (n, dimension)."""
        parts = [list(texts[i : i + _TEXTS]) for i in range(0, len(texts), _TEXTS)]
        payloads = [{"model": self.model, "input": part, "encoding_format": "float"} for part in parts]
        rows: list[list[float]] = []
        for part, reply in zip(parts, self._post("/embeddings", payloads), strict=True):
            rows.extend(_in_order(reply["data"], len(part), "embedding"))
        return np.array(rows, np.float32)

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return the server's score of each text for the query."""
        (reply,) = self._post("/rerank", [{"model": self.model, "query": query, "documents": list(texts)}])
        rows = reply["results"] if isinstance(reply, dict) else reply  # SGLang sends the bare list
        name = "relevance_score" if rows and "relevance_score" in rows[0] else "score"
        return [float(score) for score in _in_order(rows, len(texts), name)]

    def _post(self, path: str, payloads: Sequence[Any]) -> list[Any]:
        try:
            return asyncio.run(self._post_all(path, payloads))
        except RequestRejected as problem:
            if problem.status != 404:
                raise
            raise ProbeError(
                f"{problem}. This server has no {path}; SGLang has it if started with --is-embedding"
            ) from None

    async def _post_all(self, path: str, payloads: Sequence[Any]) -> list[Any]:
        backend = _served(self.identity)
        slots = asyncio.Semaphore(_MAX_IN_FLIGHT)

        async def post(payload: Any) -> Any:
            async with slots:
                ask = partial(backend.endpoints.call, lambda url: backend.post(url + path, payload))
                return (await _with_retries(ask))[0]

        try:
            return list(await asyncio.gather(*map(post, payloads)))
        finally:
            await backend.close()


def _served(spec: str) -> OpenAIBackend:
    backend = load(spec)
    if not isinstance(backend, OpenAIBackend):
        raise UsageError(f"{spec}: a served encoder or reranker is openai:NAME[@URL] or sglang:NAME@URL")
    return backend


async def _with_retries(ask: Any) -> Any:
    """Call ``ask`` until it succeeds, with exponential back-off and at least the server's Retry-After."""
    for attempt in range(_TRIES):
        try:
            return await ask()
        except (Overloaded, ServerFailed) as problem:
            if attempt == _TRIES - 1:
                raise
            retry_after = problem.retry_after if isinstance(problem, Overloaded) else None
            await asyncio.sleep(max(retry_after or 0.0, random.uniform(0, 0.5 * 2**attempt)))
    raise AssertionError


def _in_order(rows: Any, n: int, name: str) -> Iterator[Any]:
    """Yield one value for each text, by the reply's indexes. Raises ``ServerFailed`` if one is missing."""
    try:
        values = {row["index"]: row[name] for row in rows}
        yield from [values[i] for i in range(n)]
    except (KeyError, TypeError) as problem:
        raise ServerFailed(f"the reply has not one {name!r} for each of {n} texts: {problem!r}") from None
