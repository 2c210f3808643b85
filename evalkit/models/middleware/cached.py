"""Answers from the response cache what was answered before."""

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
    """Answers from the cache what was answered before. The modes are those of ``--cache``:

    ``on`` finds what any run was answered. ``off`` files under the ``namespace`` (the run) and finds no more
    than that: a resumed run pays nothing twice. ``refresh`` finds what ``off`` does and files for all runs,
    too. ``only`` asks nobody.
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
        # Where answers are found, and filed; the last is filed first.
        self._salts = {"off": (namespace,), "refresh": (namespace, "")}.get(mode, ("",))

    async def send(self, request: Request) -> Response:
        """The cached response, or the model's, which is filed before it is handed on.

        Raises ``NotCached`` where only the cache may answer and it cannot.
        """
        keys = [request_key(self._identity, request, namespace) for namespace in self._salts]
        if (known := self._cache.get(keys[0])) is not None:
            call_stats.current.get().hits += 1
            return known
        if self._only:
            raise NotCached(
                "the cache holds no answer to this request (--cache only): the prompt, a parameter or the "
                "model is another one than when it was filled. Ask for it with --cache on"
            )
        response = await self.inner.send(request)
        for key in reversed(keys):
            self._cache.put(key, response)
        return response
