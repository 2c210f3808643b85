"""What a run will cost, before its first call: an estimate with its interval.

A rehearsal tells how long the prompts are, how many calls a sample takes, and what the cache answers. The
most similar earlier run tells the rest, as far as it goes:

    a run of this model on this task    tokens for each character, calls for each sample, lengths of replies
    a run of this model                 tokens for each character
    a run of this task                  calls for each sample; lengths of replies: those of another model, or
                                        with other parameters, may be 3 times as long, or a third as long
    no run                              4 characters are a token, give or take 35 %; a reply has from 1 to
                                        max_tokens tokens and what the model may think, each order of
                                        magnitude being as likely

The interval joins these doubts with the chance that lies in the choice of the samples; it aims at 95 %. The
calls of a judge are not part of the estimate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from evalkit.errors import SetupError
from evalkit.model import Model
from evalkit.models.middleware.spending import Spending
from evalkit.models.prices import Price
from evalkit.models.schedule.lengths import CHARS_PER_TOKEN
from evalkit.run.fingerprint import first_samples
from evalkit.run.history import Earlier
from evalkit.run.rehearsal import Rehearsed, rehearse
from evalkit.stats import t_quantile
from evalkit.types import Sample, Usage, token_count
from evalkit.util.money import dollars

if TYPE_CHECKING:
    from evalkit.run.engine import Work
    from evalkit.store.records import Calls

REHEARSED, COMPARED = 100, 40  # samples of this run, and those of them or others that an earlier run has, too
_OTHER = 3.0  # replies of another model, or in another variant of the task, differ by up to this factor
_OTHER_TOKENS = 0.15  # the relative spread of tokens per character between tasks and models
_NO_TOKENS = 0.35
_SAME = 0.02  # the doubt that remains between two runs that are the same


class Range(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Forecast:
    """What ``n`` samples will cost. ``cost`` is None where no price is known.

    ``prompt`` and ``reply`` are mean tokens of a call; ``cached`` the share of the samples that cost nothing.
    ``whole``: every sample was rehearsed. ``basis`` is the earlier run behind the lengths of the replies.
    ``tools``: the model may call tools. ``alike``: nothing lets the repeats of a sample differ.
    """

    n: int
    cost: Range | None
    tokens: Range
    prompt: float
    reply: Range
    cached: float
    whole: bool
    basis: str = ""
    tools: bool = False
    alike: bool = False

    def facts(self) -> dict[str, Any]:
        """Return what a run's provenance keeps: value, low and high end of cost and tokens."""
        cost = {"cost": list(self.cost)} if self.cost else {}
        return {**cost, "tokens": list(self.tokens), "samples": self.n, "basis": self.basis}

    def text(self) -> str:
        """Return the forecast as one sentence."""
        what = f"about {_tokens(self.tokens)} tokens"
        if self.cost is not None:
            value, low, high = map(dollars, self.cost)
            what = f"about {value} [{low[1:]}, {high[1:]}]"
        replies = f"replies of about {self.reply.value:,.0f} (as in run {self.basis})"
        if not self.basis:
            more = ". Each call of tools adds a call, and a longer prompt, which are not counted here"
            replies = (
                f"replies of at most {self.reply.high:,.0f}, since no earlier run tells how long they are"
                + more * self.tools
            )
        cached = f"{round(self.cached * self.n):,}" if self.whole else f"about {self.cached:.0%}"
        known = f"; {cached} of them are in the cache" if self.cached else ""
        samples = f"{self.n:,} sample{'s' * (self.n != 1)}"
        alike = (
            ". The temperature is 0, so that the repeats of a sample can be equal: ?temperature=1 draws anew"
        )
        told = f"{what}: {samples} with prompts of about {self.prompt:,.0f} tokens, {replies}{known}"
        return told + alike * self.alike


def check_round(forecast: Forecast, window: int, spending: Spending) -> None:
    """Refuse samples that go out in one batch, ``window`` at once, and would pass a limit before any reply.

    A batch is paid as a whole. Raises ``SetupError``.
    """
    at_once = min(window, forecast.n)
    cost = forecast.cost.value * at_once / forecast.n if forecast.cost else None
    room, above = spending.room_for(cost, forecast.tokens.value * at_once / forecast.n)
    if above:
        fit = int(room * at_once)
        fewer = f", or send fewer samples at once: --window {fit}" if fit else ""
        raise SetupError(
            f"{forecast.text()}. A batch is paid as a whole, and {at_once:,} samples at once would be more "
            f"than {above}: nothing was sent. Raise the limit{fewer}"
        )


def _tokens(range_: Range) -> str:
    value, low, high = (f"{x / 1e6:.2g}M" if x >= 1e6 else f"{float(f'{x:.2g}'):,.0f}" for x in range_)
    return f"{value} [{low}, {high}]"


async def forecast(work: Work, n: int, earlier: Earlier, price: Price | None) -> Forecast | None:
    """Return the forecast of the ``n`` samples that are not done; None where the task asks no model."""
    spread, compared = await _chosen(work, n, earlier.calls if earlier.same_variant else ())
    heard = await rehearse(spread, work.fn, work.model, work.arguments)
    if not heard:
        return None
    both = await rehearse(compared, work.fn, work.model, work.arguments, cached=False)
    lengths = _Lengths.learned(both, earlier, _allowance(work.model))

    def total(value: Callable[[Usage], float]) -> Range:
        return _total([lengths.sample(one, value) for one in heard], n, lengths)

    calls = sum(one.calls for one in heard)
    return Forecast(
        n=n,
        cost=total(lambda usage: price.of(usage) or 0.0) if price else None,
        tokens=total(lambda usage: usage.prompt_tokens + usage.completion_tokens),
        prompt=sum(one.characters for one in heard) / calls * lengths.per_character.value,
        reply=lengths.replies or Range(0.0, 0.0, sum(one.most for one in heard) / calls + lengths.allowance),
        cached=fmean(one.uncached == 0 for one in heard),
        whole=len(heard) == n,
        basis=earlier.run_id if lengths.replies else "",
        tools=any(one.tools for one in heard),
        alike=work.repeats > 1 and _at_temperature_0(heard, work.model),
    )


def _at_temperature_0(heard: Sequence[Rehearsed], model: Model) -> bool:
    sent = "temperature" not in model.facts.identity.get("left_out", ())
    return sent and not any(one.draws for one in heard)


def _allowance(model: Model) -> int:
    """Return the tokens that a model may think, from its identity; 0 where that names none."""
    identity = model.facts.identity
    return token_count(identity.get("reasoning_tokens") or identity.get("reasoning_allowance") or 0)


Chosen = list[tuple[int, Sample]]
"""Pairs of a repeat and a sample."""


async def _chosen(work: Work, n: int, known: Collection[str]) -> tuple[Chosen, Chosen]:
    """Return random ones of the ``n`` samples that are not done, and the first ones with a ``known`` id."""
    places = set(random.Random(0).sample(range(n), min(n, REHEARSED)))
    spread: Chosen = []
    compared: Chosen = []
    index = pending = 0
    async for sample in first_samples(work.samples, work.limit):
        if sample.id in known and len(compared) < COMPARED:
            compared.append((0, sample))
        for repeat in range(work.repeats):
            if index * work.repeats + repeat in work.done:
                continue
            if pending in places:
                spread.append((repeat, sample))
            pending += 1
        index += 1
    return spread, compared


@dataclass(frozen=True)
class _Lengths:
    """What is known of lengths: tokens for each character, calls for each call of the rehearsal, replies.

    ``replies`` is the mean of a call's reply, None if no run tells it; ``noise`` the deviation of one reply;
    ``cached_share`` the part of the prompts that the server read from its own cache; ``allowance`` the tokens
    that the model may think beyond ``max_tokens``.
    """

    per_character: Range
    calls: float = 1.0
    replies: Range | None = None
    noise: float = 0.0
    cached_share: float = 0.0
    allowance: int = 0

    @classmethod
    def learned(cls, both: Sequence[Rehearsed], earlier: Earlier, allowance: int) -> _Lengths:
        """Return what an earlier run tells, with the rehearsal of some of its samples."""
        pairs = [(one, earlier.calls[one.sample.id]) for one in both]
        per_character = _per_character(pairs, earlier)
        if not earlier.calls:
            return cls(per_character, allowance=allowance)
        replies = [call.completion / call.calls for call in earlier.calls.values()]
        mean, noise = fmean(replies), stdev(replies) if len(replies) > 1 else fmean(replies)
        doubt = _doubt(noise, len(replies)) + _SAME * mean
        low, high = max(1.0, mean - doubt), _highest(mean, doubt, noise)
        if not earlier.alike:
            low, high = low / _OTHER, high * _OTHER
        calls = sum(call.calls for _, call in pairs) / max(1, sum(one.calls for one, _ in pairs)) or 1.0
        prompt = sum(call.prompt for call in earlier.calls.values())
        share = sum(call.cached for call in earlier.calls.values()) / prompt if prompt else 0.0
        return cls(per_character, calls, Range(mean, low, high), noise, share * earlier.alike)

    def reply(self, one: Rehearsed) -> Range:
        """Return the tokens of a reply of a sample; without an earlier run, from 1 to ``max_tokens``."""
        most = one.most / one.calls + self.allowance
        return self.replies or Range((most - 1) / math.log(most) if most > 1 else most, min(1.0, most), most)

    def sample(self, one: Rehearsed, value: Callable[[Usage], float]) -> Range:
        """Return what one sample comes to; the calls that the cache answers are worth nothing."""
        reply, prompt = self.reply(one), one.characters / one.calls
        calls = one.uncached * self.calls

        def of_call(per_character: float, completion: float) -> float:
            tokens = max(1, round(prompt * per_character))
            usage = Usage(tokens, round(completion), cached_tokens=int(tokens * self.cached_share))
            return calls * value(usage) if calls else 0.0

        return Range(*map(of_call, self.per_character, reply))


def _per_character(pairs: Sequence[tuple[Rehearsed, Calls]], earlier: Earlier) -> Range:
    """Return tokens for each character of a prompt."""
    known = [(call.prompt, one.characters * call.calls / one.calls) for one, call in pairs if call.prompt]
    if known:
        value = sum(tokens for tokens, _ in known) / sum(length for _, length in known)
        spread = (
            stdev(tokens / length for tokens, length in known) if len(known) > 1 else value * _OTHER_TOKENS
        )
        doubt = _doubt(spread, len(known)) + value * (_SAME if earlier.alike else _OTHER_TOKENS)
    elif earlier.per_character:
        value, doubt = earlier.per_character, earlier.per_character * _OTHER_TOKENS
    else:
        value, doubt = 1 / CHARS_PER_TOKEN, _NO_TOKENS / CHARS_PER_TOKEN
    return Range(value, max(value - doubt, value / 3), value + doubt)


def _doubt(deviation: float, n: int) -> float:
    """Return half the 95 % interval of a mean."""
    return t_quantile(0.975, max(1, n - 1)) * deviation / math.sqrt(n)


def _highest(mean: float, doubt: float, deviation: float) -> float:
    """Return the upper end of the interval of a mean length, from half the symmetric one.

    Few long replies hold many of the tokens, and a small sample may have none of them. So the interval is
    corrected for skewness as Johnson (1978) does, with that of a log-normal law of the same deviation.
    """
    if mean == 0:
        return 0.0
    share, spread = doubt / mean, deviation / mean
    return mean + doubt + mean * min(share**2 * (1 + spread**2 / 3), 1.0)


def _total(costs: Sequence[Range], n: int, lengths: _Lengths) -> Range:
    """Return what ``n`` samples come to, from those that were rehearsed."""
    value, low, high = (n * fmean(column) for column in zip(*costs, strict=True))
    values = [cost.value for cost in costs]
    k = len(values)
    left_out = max(0.0, 1 - k / n)  # no chance remains where all samples were rehearsed
    chosen = n * _doubt(stdev(values), k) * math.sqrt(left_out) if k > 1 else value
    drawn = 0.0
    if lengths.replies and lengths.replies.value:  # each reply differs from the mean
        spread = lengths.noise / lengths.replies.value * fmean(values)
        drawn = 1.96 * spread * math.sqrt(n)
    chance = math.hypot(chosen, drawn)
    return Range(
        value, max(0.0, value - math.hypot(value - low, chance)), value + math.hypot(high - value, chance)
    )
