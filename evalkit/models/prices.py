"""What calls cost: prices in US dollars, from ``evalkit.toml`` or from the table of the package genai-prices.

A user's price comes first:

    [prices."openai:my-model"]        # the model as --model names it, without its address, or its label
    input = 0.5                       # US dollars per million tokens; input and output must be given
    output = 2.0
    cached_input = 0.05               # default: input; tokens read from the server's prompt cache
    cache_write = 0.6                 # default: input; tokens written to it
    reasoning = 2.0                   # default: output
    image = 0.5                       # default: input; for the tokens of pictures that the server reports
    batch_discount = 0.5              # the share taken off with ?batch=true; default 0

    [prices]
    file = "prices.toml"              # more such tables, without "prices." in their names

Without one, the model's address says which vendor's table applies. A server of one's own has no price.
"""

from __future__ import annotations

import math
import time
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from msgspec import Struct

from evalkit.errors import UsageError, did_you_mean
from evalkit.models.spec import ModelSpec, parse_spec
from evalkit.protocols import Backend
from evalkit.types import Usage
from evalkit.util.config import NAME, config_file, load_config

PER_MILLION = ("input", "output", "cached_input", "cache_write", "reasoning", "image")
_KEYS = (*PER_MILLION, "batch_discount")


class Rates(Struct, frozen=True, kw_only=True):
    """US dollars for one token of each kind, and for each request."""

    input: float
    output: float
    cached_input: float
    cache_write: float
    reasoning: float
    image: float
    request: float = 0.0

    def cost(self, usage: Usage) -> float:
        """Return what one call costs. Counts of parts that are larger than their whole are cut to it."""
        left = usage.prompt_tokens
        cached = min(usage.cached_tokens, left)
        written = min(usage.cache_write_tokens, left := left - cached)
        image = min(usage.image_tokens or 0, left := left - written)
        reasoning = min(usage.reasoning_tokens, usage.completion_tokens)
        return (
            self.request
            + cached * self.cached_input
            + written * self.cache_write
            + image * self.image
            + (left - image) * self.input
            + reasoning * self.reasoning
            + (usage.completion_tokens - reasoning) * self.output
        )


@dataclass(frozen=True, eq=False)
class Price:
    """The price of a model. ``facts`` say where it comes from; a run's provenance keeps them.

    ``rates`` returns the rates of a call by its prompt tokens, because some models cost more with a long
    prompt; None for a model without a price to pay.
    """

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    rates: Callable[[int], Rates] | None = None

    def of(self, usage: Usage) -> float | None:
        """Return the US dollars of one call; None where the server reports no prompt tokens."""
        if self.rates is None:
            return 0.0
        return self.rates(usage.prompt_tokens).cost(usage) if usage.prompt_tokens else None


FREE = Price("free")
"""The price of models inside evalkit: baselines and fakes."""


def price_of(text: str, backend: Backend | None = None) -> Price | None:
    """Return the price of a model by its spec; None if it is not known.

    With a ``backend`` in place of the spec's model, only a free one has a price. Raises ``UsageError`` for
    a wrong entry of the prices in ``evalkit.toml``.
    """
    if backend is not None:
        return FREE if backend.traits.free else None
    config = load_config()
    listed = listed_prices(config)
    spec = parse_spec(text, config=config)
    head = text.partition("?")[0].partition("@http")[0]  # a name of evalkit.toml
    for name in (_name(spec), f"{spec.provider}:{spec.name}", head):
        if name in listed:
            return _listed(name, listed[name], batch=bool(spec.options.get("batch")))
    return FREE if spec.provider == "baseline" else _from_table(spec)


def shown_name(text: str) -> str:
    """Return the name under which a model's price is listed: its label, or ``openai:gpt-5-mini``."""
    try:
        return _name(parse_spec(text, config=load_config()))
    except UsageError:  # the name of a program's own backend
        return text


def _name(spec: ModelSpec) -> str:
    return str(spec.options.get("label") or f"{spec.provider}:{spec.name}")


# --- A user's own prices -----------------------------------------------------------------------------------


def listed_prices(config: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the prices of ``[prices]`` and of its file by model. Raises ``UsageError`` for a wrong one."""
    table = config.get("prices", {})
    where = f"{NAME}, [prices]"
    if not isinstance(table, Mapping):
        raise UsageError(f'{where}: must hold tables such as [prices."openai:my-model"]')
    entries = {name: entry for name, entry in table.items() if name != "file"}
    prices = {}
    if "file" in table:
        path = _path(table["file"])
        prices = {name: _checked(f"{path}, [{name}]", entry) for name, entry in _read(path).items()}
    return prices | {name: _checked(f'{NAME}, [prices."{name}"]', e) for name, e in entries.items()}


def _path(value: Any) -> Path:
    """Return the path of the file of prices; a relative one begins in the folder of ``evalkit.toml``."""
    if not isinstance(value, str) or not value:
        raise UsageError(f"{NAME}, [prices] file = {value!r}: must be the path of a TOML file")
    found = config_file()
    return (found.parent if found else Path()) / Path(value).expanduser()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise UsageError(f"{NAME}, [prices] file: {path} cannot be read: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise UsageError(f"{path}: {problem}") from None


def _checked(where: str, entry: Any) -> dict[str, float]:
    """Return the numbers of one model. Raises ``UsageError`` with the key that is wrong."""
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: must be a table with input and output, in US dollars per million tokens")
    for key, value in entry.items():
        if key not in _KEYS:
            raise UsageError(
                f"{where}: no such key {key!r}.{did_you_mean(key, _KEYS)} Known: {', '.join(_KEYS)}"
            )
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            raise UsageError(f"{where}: {key} = {value!r}: must be a number of US dollars, 0 or more")
        if key == "batch_discount" and value > 1:
            raise UsageError(f"{where}: batch_discount = {value!r}: must be a share from 0 to 1, such as 0.5")
    for key in ("input", "output"):
        if key not in entry:
            raise UsageError(f"{where}: {key} is missing, in US dollars per million tokens")
    return dict(entry)


def _listed(name: str, entry: Mapping[str, float], *, batch: bool) -> Price:
    share = 1 - entry.get("batch_discount", 0) if batch else 1
    values = {key: entry.get(key, entry["output" if key == "reasoning" else "input"]) for key in PER_MILLION}
    rates = Rates(**{key: value * share / 1e6 for key, value in values.items()})
    facts = {"source": NAME, "per_million": dict(entry), **({"batch": True} if batch else {})}
    return Price(name, facts, lambda tokens: rates)


# --- The table of genai-prices -----------------------------------------------------------------------------

# Vendors by provider, for specs without an address.
_VENDORS = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
_UNIT = 1_000_000
_USUAL = ("auto", "default", "standard", "standard_only", "unspecified")  # words for the usual price


def _from_table(spec: ModelSpec) -> Price | None:
    """Return the price of a vendor's model; None for an address or a model that the table does not have."""
    if not spec.urls and spec.provider not in _VENDORS:
        return None
    if spec.urls and not any(url.startswith("https://") for url in spec.urls):
        return None  # no vendor: the package takes 0.1 s to import
    from genai_prices.data_snapshot import get_snapshot

    table = get_snapshot()
    vendor = None if spec.urls else _VENDORS[spec.provider]
    found = set()
    for url in spec.urls or ("",):
        try:
            provider, model = table.find_provider_model(
                spec.name.removeprefix("models/"), None, vendor, url or None
            )
        except LookupError:
            return None
        found.add((provider.id, model.id))
    if len(found) > 1:  # one model at two vendors
        return None
    return _table_price(spec, provider, model)


def _table_price(spec: ModelSpec, provider: Any, model: Any) -> Price | None:
    """Return the price of a model of the table; None where the table has none for tokens, or for batches."""
    context = _context(spec)
    for name, value in context.items():
        listed = [variant.when.get(name) for variant in model.price_variants or ()]
        if value not in _USUAL and (value not in listed or model not in provider.models):
            return None  # the table would answer with the usual price
    prices = model.get_prices(_now(), context)
    if prices.input_mtok is None or prices.output_mtok is None:  # by hours, pages or pictures
        return None
    tiers = [price.tiers for price in vars(prices).values() if hasattr(price, "tiers")]
    for_an_hour = _writes_for_an_hour(spec)
    starts = sorted({tier.start for some in tiers for tier in some})
    changes_with_time = not hasattr(model.prices, "calc_price")  # a list of prices with their conditions

    @lru_cache(maxsize=64)
    def rates(tier: int, minute: int) -> Rates:
        return _rates(provider, model, context, starts[tier - 1] + 1 if tier else 0, for_an_hour)

    def rates_of(tokens: int) -> Rates:
        minute = int(time.time() // 60) if changes_with_time else 0
        return rates(bisect_left(starts, tokens), minute)

    facts = {
        "source": f"genai-prices {version('genai-prices')}",
        "model": f"{provider.id}/{model.id}",
        "newest_price": _newest_price(),
        **({"context": context} if context else {}),
        "per_million": {kind: round(getattr(rates_of(1), kind) * _UNIT, 6) for kind in PER_MILLION},
    }
    return Price(_name(spec), facts, rates_of)


def _context(spec: ModelSpec) -> dict[str, str]:
    """Return what a request asks for that has a price of its own, as the table names it."""
    batch = "batch" if spec.options.get("batch") else None
    tier = spec.extra.get("service_tier") or spec.extra.get("serviceTier")  # the second is Gemini's
    asked = {"processing": batch, "service_tier": tier, "speed": spec.extra.get("speed")}
    return {name: str(value) for name, value in asked.items() if value}


def _writes_for_an_hour(spec: ModelSpec) -> bool:
    """Return whether Anthropic's prompt cache is to hold what is written for an hour, at a higher price."""
    cache = spec.extra.get("cache_control")
    return isinstance(cache, Mapping) and cache.get("ttl") == "1h"


def _rates(provider: Any, model: Any, context: Mapping[str, str], least: int, for_an_hour: bool) -> Rates:
    """Return the rates for prompts of at least ``least`` tokens, by asking the table for each kind of token.

    The table computes in decimals, which takes too long for every call of a large run.
    """
    from genai_prices import Usage as TableUsage

    tokens, now = max(least, 1), _now()

    def dollars(**counts: int) -> float:
        usage = TableUsage(**{"input_tokens": tokens, "output_tokens": 0, **counts})
        found = model.calc_price(
            usage, provider, genai_request_timestamp=now, price_context=dict(context) or None
        )
        return float(found.total_price)

    request = dollars(input_tokens=0)
    plain = dollars()
    written = {"cache_write_tokens": tokens, **({"cache_write_1h_tokens": tokens} if for_an_hour else {})}
    return Rates(
        input=(plain - request) / tokens,
        output=(dollars(output_tokens=_UNIT) - plain) / _UNIT,
        cached_input=(dollars(cache_read_tokens=tokens) - request) / tokens,
        cache_write=(dollars(**written) - request) / tokens,
        reasoning=(dollars(output_tokens=_UNIT, output_reasoning_tokens=_UNIT) - plain) / _UNIT,
        image=(dollars(input_image_tokens=tokens) - request) / tokens,
        request=request,
    )


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(tz=UTC)


@lru_cache(maxsize=1)
def _newest_price() -> str:
    """Return the date of the newest price in force (``2026-10-14``): the table itself bears no date."""
    from genai_prices.data_snapshot import get_snapshot

    conditions: list[Any] = [
        price.constraint
        for provider in get_snapshot().providers
        for model in provider.models
        if isinstance(model.prices, list)
        for price in model.prices
    ]
    starts = [condition.start_date for condition in conditions if hasattr(condition, "start_date")]
    return str(max((start for start in starts if start <= _now().date()), default=""))
