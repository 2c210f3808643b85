"""A rehearsal: what a task would ask for some of its samples, before any call is paid for.

The task's function runs for each of these samples against a sender that keeps the requests and answers from
the response cache, or with a made-up reply. Nothing is sent, also not to a judge.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalkit.errors import ModelError
from evalkit.model import Model
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.cached import Cached
from evalkit.models.middleware.call_stats import CallStats
from evalkit.models.middleware.spending import Spending
from evalkit.models.schedule.lengths import CHARS_PER_TOKEN, tokens_by_size
from evalkit.models.schedule.prefix import characters
from evalkit.types import Answer, Request, Response, Sample
from evalkit.util.boundary import is_request_to_stop

AT_ONCE = 32
_MOST_CALLS = 50  # of one sample: a task that asks again until it likes the reply would never end
_REPLY = "I cannot say."


@dataclass
class Rehearsed:
    """What the task asked for one sample.

    ``characters`` are those of all prompts, with four for each token that a picture takes. ``most`` is the
    sum of the requests' ``max_tokens``; ``uncached`` counts the requests that the cache has no answer to.
    ``tools``: the model may call tools, and made-up replies call none. ``draws``: a request asks for another
    temperature than 0.
    """

    sample: Sample
    repeat: int
    calls: int = 0
    uncached: int = 0
    characters: float = 0.0
    most: int = 0
    tools: bool = False
    draws: bool = False


async def rehearse(
    chosen: Iterable[tuple[int, Sample]],
    fn: Callable[..., Awaitable[Answer]],
    model: Model,
    arguments: Mapping[str, Any],
    *,
    cached: bool = True,
) -> list[Rehearsed]:
    """Return what the task would ask for each pair of a repeat and a sample, if it asks anything.

    Without ``cached``, all replies are made up: as for a sample that the cache does not have. A task may
    raise anything where its request has no real reply; what it asked before counts.
    """
    waiting, found = list(chosen), []
    # With ``began`` at 0, another model's cached answers are used unchecked: a check would send requests.
    nothing_is_sent = CallStats(began=0.0, spending=Spending(reached="nothing is sent"))
    before = call_stats.current.set(nothing_is_sent)
    try:
        while waiting:
            batch, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            asked = [_Listener(Rehearsed(sample, repeat), model, cached) for repeat, sample in batch]
            await asyncio.gather(*(_listen(one, fn, arguments) for one in asked))
            found += [listener.heard for listener in asked if listener.heard.calls]
    finally:
        call_stats.current.reset(before)
    return found


async def _listen(
    listener: _Listener, fn: Callable[..., Awaitable[Answer]], arguments: Mapping[str, Any]
) -> None:
    try:
        await fn(sample=listener.heard.sample, model=listener.model, **arguments)
    except BaseException as problem:  # plug-in code, with replies that nobody wrote
        if is_request_to_stop(problem):
            raise


@dataclass
class _Listener:
    """A sender that keeps what one sample asks."""

    heard: Rehearsed
    real: Model
    cached: bool
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        listening = copy.copy(self.real)
        listening.sender = self
        self.model = listening.for_sample(self.heard.sample, self.heard.repeat)

    async def send(self, request: Request) -> Response:
        """Return the cached reply, or a made-up one."""
        heard, cache = self.heard, self.real.sender
        if heard.calls == _MOST_CALLS:
            raise ModelError("only a rehearsal")
        heard.calls += 1
        heard.tools |= bool(request.tools)
        heard.draws |= request.extra.get("temperature", request.temperature) != 0
        heard.most += request.max_tokens if request.continuation is None else 1
        heard.characters += characters(request) + len(request.continuation or "")
        heard.characters += CHARS_PER_TOKEN * sum(map(tokens_by_size, request.images))
        if self.cached and isinstance(cache, Cached) and (response := cache.peek(request)):
            return response
        heard.uncached += 1
        logprobs = None if request.continuation is None else (-1.0,)
        return Response(text=_REPLY, logprobs=logprobs, is_greedy=None if logprobs is None else False)
