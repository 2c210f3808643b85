"""What every model call passes through, each layer wrapping one ``send``: cache, share, retry.

The last one, which schedules, is in ``scheduled.py``.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Literal

from msgspec.structs import replace

from evalkit.errors import ModelError, NotCached, Overloaded, ServerFailed
from evalkit.model import canonical
from evalkit.models import traffic
from evalkit.models.cache import ResponseCache, request_key
from evalkit.types import Backend, Needs, Request, Response, ServerFacts

CacheMode = Literal["on", "off", "refresh", "only"]
# So long may a server ask to be left alone, and so long a request is tried again.
LONGEST_WAIT_S = 600.0


class Layer:
    """A backend around another one; subclasses change ``send``, and count in the run's ``Traffic``."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        """``name``, ``defaults`` and whatever else the backend itself has."""
        return getattr(self.inner, name)

    async def send(self, request: Request) -> Response:
        """Pass the request on."""
        return await self.inner.send(request)

    async def probe(self, needs: Needs) -> ServerFacts:
        """Pass the question on."""
        return await self.inner.probe(needs)

    async def close(self) -> None:
        """Close the inner backend."""
        await self.inner.close()


class Cached(Layer):
    """Answers from the cache what was answered before. The modes are those of ``--cache``:

    ``on`` finds what any run was answered. ``off`` files under the ``salt`` (the run) and finds no more than
    that: a resumed run pays nothing twice. ``refresh`` finds what ``off`` does and files for all runs, too.
    ``only`` asks nobody.
    """

    def __init__(
        self,
        inner: Backend,
        cache: ResponseCache,
        identity: Mapping[str, Any],
        mode: CacheMode = "on",
        salt: str = "",
    ) -> None:
        super().__init__(inner)
        self._cache, self._identity, self._only = cache, identity, mode == "only"
        # Where answers are found, and filed; the last is filed first.
        self._salts = {"off": (salt,), "refresh": (salt, "")}.get(mode, ("",))

    async def send(self, request: Request) -> Response:
        """The cached response, or the model's, which is filed before it is handed on.

        Raises ``NotCached`` where only the cache may answer and it cannot.
        """
        keys = [request_key(self._identity, request, salt) for salt in self._salts]
        if (known := self._cache.get(keys[0])) is not None:
            traffic.current.get().hits += 1
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


class Retrying(Layer):
    """Tries again what may succeed: exponential back-off with full jitter, at least what the server asks for.

    An overload holds back all requests of this model together, so that they do not knock in turn. Where there
    are several endpoints, the schedule holds back those of the one endpoint.

    All tries after the first are at most ``FLOOR`` and a part of the requests that were answered, ``EARNED``
    or the backend's ``retry_budget``: a failure beyond is final. A connection that cannot be made reaches
    nobody and is no such try; how long it may last, ``Scheduled`` decides.
    """

    FLOOR, EARNED = 100, 0.5

    def __init__(
        self,
        inner: Backend,
        *,
        tries: int = 6,
        total_s: float = LONGEST_WAIT_S,
        base_s: float = 0.5,
        cap_s: float = 30.0,
    ) -> None:
        super().__init__(inner)
        self._tries, self._total, self._base, self._cap = tries, total_s, base_s, cap_s
        self._open_at = 0.0
        self._budget = float(self.FLOOR)
        earned = getattr(inner, "retry_budget", None)
        self._earned: float = self.EARNED if earned is None else earned
        self._elsewhere = len(getattr(getattr(inner, "scheduler", None), "lanes", ())) > 1
        self._random = random.Random()

    async def send(self, request: Request) -> Response:
        """The response, with the number of ``retries`` it took. Raises the last failure."""
        give_up, attempt, never_begun = math.inf, 0, 0
        while True:
            await self._wait_until_open()
            try:
                response = await self.inner.send(request)
            except (Overloaded, ServerFailed) as problem:
                wait = self._wait_after(attempt, problem)
                give_up = min(give_up, time.monotonic() + self._total)
                attempt += 1
                never_begun += getattr(problem, "never_begun", False)
                if attempt - never_begun >= self._tries or time.monotonic() + wait > give_up:
                    raise
                self._pay(problem)
                if isinstance(problem, Overloaded) and not self._elsewhere:
                    self._open_at = max(self._open_at, time.monotonic() + wait)
            else:
                self._budget += self._earned
                return replace(response, retries=attempt) if attempt else response
            traffic.current.get().retries += 1
            await asyncio.sleep(wait)

    def _pay(self, problem: ModelError) -> None:
        """Raises the failure where the budget is used up."""
        if getattr(problem, "never_begun", False):
            return
        if self._budget < 1:
            traffic.current.get().given_up += 1
            problem.args = (
                f"{problem} (not tried again: too many requests fail, the retries are used up: {self.FLOOR} "
                f"and {self._earned:g} × the answered requests; more with ?retry_budget=)",
            )
            raise problem
        self._budget -= 1

    def _wait_after(self, attempt: int, problem: ModelError) -> float:
        wait = self._random.uniform(0, min(self._cap, self._base * 2**attempt))
        asked = problem.retry_after if isinstance(problem, Overloaded) and not self._elsewhere else None
        return max(wait, asked or 0.0)

    async def _wait_until_open(self) -> None:
        """Wait for the end of a shared pause, and then a little more, each request another while."""
        while (left := self._open_at - time.monotonic()) > 0:  # noqa: ASYNC110 - it may have been prolonged
            await asyncio.sleep(left + self._random.uniform(0, min(left, 1.0)))


class Shared(Layer):
    """Identical requests in flight are sent once; the others get the same response, as if from a cache.

    A failure is shared by those who waited for it and by nobody after. Where the one who sends is
    cancelled, one of the others sends instead.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._flying: dict[Any, asyncio.Future[Response | None]] = {}

    async def send(self, request: Request) -> Response:
        """The response to this request, or to one that is equal to it and under way."""
        key = _content(request)
        while (flight := self._flying.get(key)) is not None:
            # ``wait`` and not ``await``: a cancelled waiter must not cancel what others wait for.
            await asyncio.wait([flight])
            if (response := flight.result()) is not None:
                traffic.current.get().hits += 1
                return replace(response, from_cache=True)
        flight = self._flying[key] = asyncio.get_running_loop().create_future()
        try:
            response = await self.inner.send(request)
        except ModelError as problem:
            flight.set_exception(problem)
            flight.exception()  # seen, also where nobody waits
            raise
        else:
            flight.set_result(response)
            return response
        finally:
            del self._flying[key]
            if not flight.done():
                flight.set_result(None)


_LOOSE = {"sample", "json_schema", "extra"}
_hashable = attrgetter(*(name for name in Request.__struct_fields__ if name not in _LOOSE))


def _content(request: Request) -> Any:
    """A request as a dictionary key: all that a server sees of it, and the repeat."""
    loose = canonical([request.json_schema, request.extra]) if request.json_schema or request.extra else b""
    return _hashable(request), loose
