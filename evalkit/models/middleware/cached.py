"""The cache layer: a request that was answered before is answered from the response cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from evalkit.errors import NotCached
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.layer import Layer
from evalkit.models.middleware.response_cache import ResponseCache, request_key
from evalkit.protocols import Sender
from evalkit.types import Request, Response

CacheMode = Literal["on", "off", "refresh", "only"]


class Cached(Layer):
    """The response cache in front of a sender. The modes are those of ``--cache``:

    - ``on``: read and write the entries that all runs share.
    - ``off``: read and write entries of this run alone (its ``namespace``), so that a resumed run pays
      nothing twice.
    - ``refresh``: read as ``off`` does, write for all runs too.
    - ``only``: read the shared entries; never call the model.
    """

    def __init__(
        self,
        inner: Sender,
        cache: ResponseCache,
        identity: Mapping[str, Any],
        mode: CacheMode = "on",
        namespace: str = "",
    ) -> None:
        super().__init__(inner)
        self._cache, self._identity, self._only = cache, identity, mode == "only"
        # The first namespace is read; all are written, the first one last.
        self._namespaces = {"off": (namespace,), "refresh": (namespace, "")}.get(mode, ("",))

    async def send(self, request: Request) -> Response:
        """Return the cached response, or the model's response after writing it to the cache.

        Raises ``NotCached`` in mode ``only`` if the cache has no entry.
        """
        keys = [request_key(self._identity, request, namespace) for namespace in self._namespaces]
        if (cached := self._cache.get(keys[0])) is not None:
            call_stats.current.get().hits += 1
            return cached
        if self._only:
            raise NotCached(
                "the cache holds no answer to this request (--cache only): the prompt, a parameter or the "
                "model has changed since the cache was filled. Run with --cache on to ask the model"
            )
        response = await self.inner.send(request)
        for key in reversed(keys):
            self._cache.put(key, response)
        return response
