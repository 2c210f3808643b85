"""The cache layer: a request that was answered before is answered from the response cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from evalkit.errors import NotCached
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.call_stats import CacheUse
from evalkit.models.middleware.layer import Layer
from evalkit.models.middleware.response_cache import ResponseCache, Stored, model_key, request_key
from evalkit.models.middleware.spending import bill
from evalkit.models.middleware.weights_check import NoWeightsCheck, Verdict, WeightsCheck
from evalkit.protocols import Sender
from evalkit.types import Request, Response

CacheMode = Literal["on", "off", "refresh", "only"]


def namespaces(mode: CacheMode, namespace: str) -> tuple[str, ...]:
    """Return the namespaces of a mode: the first is read; all are written, the first one last."""
    return {"off": (namespace,), "refresh": (namespace, "")}.get(mode, ("",))


class Cached(Layer):
    """The response cache in front of a sender. The modes are those of ``--cache``:

    - ``on``: read and write the entries that all runs share. Those from before the run are used if the
      server has still the same weights (``WeightsCheck``).
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
        check: WeightsCheck | NoWeightsCheck | None = None,
    ) -> None:
        super().__init__(inner)
        self._cache, self._identity, self._only = cache, identity, mode == "only"
        self._namespaces = namespaces(mode, namespace)
        self._check = check or WeightsCheck(inner, drawn="temperature" in identity.get("left_out", ()))
        self._model = model_key(identity)
        self._outdated_before = cache.outdated_before(self._model)

    async def send(self, request: Request) -> Response:
        """Return the cached response, or the model's response after writing it to the cache.

        Raises ``NotCached`` in mode ``only`` if the cache has no entry.
        """
        keys = [request_key(self._identity, request, namespace) for namespace in self._namespaces]
        stored, verdict = self._cache.get(keys[0]), None
        if stored is not None and stored.filed >= self._outdated_before:
            verdict = await self._verdict(keys[0], request, stored)
            if verdict.outcome != "changed":
                return self._used(stored)
            self._set_outdated()
        if self._only:
            raise NotCached(
                "the cache holds no answer to this request (--cache only): the prompt, a parameter or the "
                "model has changed since the cache was filled. Run with --cache on to ask the model"
            )
        if verdict and (fresh := verdict.fresh.get(keys[0])):
            response = fresh.response
            bill.get().join(fresh.bill)
        else:
            response = await self.inner.send(request)
        for key in reversed(keys):
            self._cache.put(key, response)
        return response

    def peek(self, request: Request) -> Response | None:
        """Return the stored response that ``send`` would try to use; None if there is none."""
        stored = self._cache.get(request_key(self._identity, request, self._namespaces[0]))
        return stored.response if stored and stored.filed >= self._outdated_before else None

    async def _verdict(self, key: bytes, request: Request, stored: Stored) -> Verdict:
        """Return whether a stored response may be used. One from this run may, and all if only they may."""
        if self._only or stored.filed >= call_stats.current.get().began:
            return _TRUSTED
        verdict = await self._check.verdict(key, request, stored)
        self._use().checked(verdict.outcome, verdict.why, stored.filed)
        return verdict

    def _used(self, stored: Stored) -> Response:
        counts = call_stats.current.get()
        counts.hits += 1
        if stored.filed < counts.began:  # of an earlier run
            self._use().count(stored.filed)
        return stored.response

    def _use(self) -> CacheUse:
        return call_stats.current.get().cached[str(self._identity.get("model", ""))]

    def _set_outdated(self) -> None:
        """Mark what was written before this run as outdated, once."""
        if self._outdated_before < (began := call_stats.current.get().began):
            self._outdated_before = began
            self._cache.set_outdated(self._model, began)


_TRUSTED = Verdict("same")
