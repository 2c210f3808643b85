"""Does the server still have the weights that wrote the cached answers? A few of them are asked for again.

Behind one address and one name a server may have other weights today, and tell nothing of it. Before answers
from before this run are used, some of the greedy ones (temperature 0, or log-probabilities) are asked of the
server again and compared. The verdict:

- *same*: all agree. The cached answers are used.
- *changed*: more than one in five differ. They count as outdated, and everything is asked again.
- *unsure*: nothing could be compared, or few differ, as they do on a server that computes a little
  differently with each batch. The cached answers are used, and the run says so.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

from evalkit.errors import ModelError, SetupError
from evalkit.models.middleware.response_cache import Stored
from evalkit.models.middleware.spending import Bill, bill
from evalkit.protocols import Sender
from evalkit.types import Request, Response

FIRST, MOST = 5, 20  # answers that are compared at first, and where few of these differ
CHANGED_ABOVE = 0.2  # share of differing answers
COMPARED = 200  # characters; further on, a server's rounding makes equal models differ
_TOLERANCE = 0.25  # of a token's log-probability, in half precision
_GATHER_TURNS = 20  # of the event loop, in which samples that run side by side look into the cache


class Fresh(NamedTuple):
    """A new answer, and what it cost: the sample that uses the answer pays for it, if one does."""

    response: Response
    bill: Bill


@dataclass
class Verdict:
    """The result of the check: ``same``, ``changed`` or ``unsure``, why, and the answers that were asked."""

    outcome: str
    why: str = ""
    fresh: dict[bytes, Fresh] = field(default_factory=dict)  # by key of the cache


class NoWeightsCheck:
    """Stands for the check where each question to the server would take hours: a batch interface."""

    async def verdict(self, key: bytes, request: Request, stored: Stored) -> Verdict:
        """Return that nothing is known."""
        return Verdict("unsure", "a batch interface is not asked again to compare them with new ones")


class _Candidate(NamedTuple):
    key: bytes
    request: Request
    response: Response


class WeightsCheck:
    """Checks once, with the first cached answers that are looked up; all that are looked up wait for it.

    ``drawn``: the server refuses the temperature, so that it draws each reply by chance.
    """

    def __init__(self, server: Sender, *, drawn: bool = False) -> None:
        self._server, self._drawn = server, drawn
        self._waiting: list[_Candidate] | None = []  # None: the check has begun
        self._checking: asyncio.Task[Verdict] | None = None

    async def verdict(self, key: bytes, request: Request, stored: Stored) -> Verdict:
        """Return the verdict on the cached answers, of which ``stored`` is one."""
        if self._checking is None:
            self._checking = asyncio.create_task(self._check())
        if self._waiting is not None:
            self._waiting.append(_Candidate(key, request, stored.response))
        return await asyncio.shield(self._checking)

    async def _check(self) -> Verdict:
        for _ in range(_GATHER_TURNS):
            await asyncio.sleep(0)
        waiting, self._waiting = self._waiting or [], None
        candidates = _candidates(waiting, self._drawn)
        if not candidates:
            return Verdict("unsure", "they were not compared with new ones: none is greedy (temperature 0)")
        fresh: dict[bytes, Fresh] = {}
        outcomes = await self._compare_all(candidates[:FIRST], fresh)
        if 0 < outcomes.count("other") <= len(outcomes) / 2:
            outcomes += await self._compare_all(candidates[FIRST:], fresh)
        other, same = outcomes.count("other"), outcomes.count("same")
        if other > CHANGED_ABOVE * len(outcomes):
            asked = f"{other} of {len(outcomes)}" if len(outcomes) > 1 else "one"
            return Verdict("changed", f"the server answers {asked} of them differently now", fresh)
        if other:
            return Verdict("unsure", f"the server answers {other} of {len(outcomes)} of them differently now")
        if not same:
            why = (
                "they could not be compared: the server failed, or answers one request differently each time"
            )
            return Verdict("unsure", why)
        return Verdict("same")

    async def _compare_all(self, some: list[_Candidate], fresh: dict[bytes, Fresh]) -> list[str]:
        return list(await asyncio.gather(*(self._compare(one, fresh) for one in some)))

    async def _compare(self, one: _Candidate, fresh: dict[bytes, Fresh]) -> str:
        """Return ``same``, ``other``, or ``unclear`` where the server fails or does not agree with itself."""
        bill.set(own := Bill())
        try:
            new = await self._server.send(one.request)
            fresh[one.key] = Fresh(new, own)
            return await compared(self._server.send, one.request, one.response, new)
        except (ModelError, SetupError):  # the samples meet the same failure, and report it
            return "unclear"


async def compared(
    send: Callable[[Request], Awaitable[Response]], request: Request, before: Response, new: Response
) -> str:
    """Return whether a ``new`` response is the ``same`` as before, or another one.

    It is an ``other`` one if the server gives it twice, else ``unclear``. Raises as ``send`` does.
    """
    if agree(new, before):
        return "same"
    return "other" if agree(new, await send(request)) else "unclear"


def without_chance(request: Request, *, drawn: bool = False) -> bool:
    """Return whether equal weights answer a request equally; ``drawn`` as in ``WeightsCheck``."""
    greedy = request.temperature == 0 and not drawn and "temperature" not in request.extra
    return greedy or request.continuation is not None


def agree(one: Response, other: Response) -> bool:
    """Return whether two responses to one request look like those of the same weights."""
    if one.logprobs is not None or other.logprobs is not None:
        pairs = zip_longest(one.logprobs or (), other.logprobs or ())
        return all(a is not None and b is not None and abs(a - b) <= _TOLERANCE for a, b in pairs)
    models = {one.model, other.model} - {""}
    return len(models) < 2 and _beginning(one) == _beginning(other)


def _beginning(response: Response) -> str:
    calls = " ".join(f"{call.name} {call.arguments}" for call in response.tool_calls)
    return " ".join(f"{response.reasoning} {response.text} {calls}".split())[:COMPARED]


def _candidates(waiting: list[_Candidate], drawn: bool) -> list[_Candidate]:
    """Return at most ``MOST`` requests from all over that are answered without chance, one of each prompt."""
    by_prompt = {_prompt(one): one for one in waiting if without_chance(one.request, drawn=drawn)}
    return random.Random(0).sample(list(by_prompt.values()), min(MOST, len(by_prompt)))


def _prompt(one: _Candidate) -> object:
    """Return what a request asks as a dictionary key; with tools, which are no key, that of the cache."""
    request = one.request
    return one.key if request.has_tools else (request.messages, request.prompt, request.continuation)
