"""The meter layer: counts what replies cost for the sample, the run and the command that ask for them.

Every reply of a server passes here once. The response cache and equal requests in flight lie outside: so a
reply from the cache costs nothing, and equal requests are paid once.
"""

from __future__ import annotations

import asyncio

from evalkit.errors import SetupError
from evalkit.models.middleware import call_stats
from evalkit.models.middleware.call_stats import CallStats
from evalkit.models.middleware.layer import Layer
from evalkit.models.middleware.spending import Account, Spending, bill, no_price
from evalkit.models.prices import Price
from evalkit.protocols import Sender
from evalkit.types import Request, Response, Usage


class Meter:
    """Counts the replies of one model, called ``name`` in messages and in the provenance of runs.

    ``active``: whether there is anything to count, so that a model without a price costs no time.
    """

    def __init__(
        self, name: str, price: Price | None, account: Account = "judge", limits: Spending | None = None
    ) -> None:
        self.name, self.price, self._account = name, price, account
        self._reports = False  # whether its server reports tokens that the limits need
        self.active = price is not None or account == "judge" or bool(limits and limits.limited)

    def check(self, spending: Spending) -> None:
        """Raise ``SetupError`` for a limit of cost without a price, ``CancelledError`` once it is reached."""
        if spending.max_cost is not None and self.price is None:
            raise SetupError(no_price(self.name))
        if spending.reached:
            raise asyncio.CancelledError

    def pay(self, response: Response, counts: CallStats) -> None:
        """Count a reply. Raises ``SetupError`` where a limit cannot be kept."""
        usage, cost = response.usage, self._cost(response)
        tokens = usage.prompt_tokens + usage.completion_tokens
        bill.get().add(self._account, cost)
        if self.price is not None and self.price.facts:
            counts.prices[self.name] = self.price
        if cost:
            counts.spent[self._account] += cost
        self._reports |= tokens > 0 and (cost is not None or counts.spending.max_cost is None)
        if counts.spending.limited and not self._reports and cost is None:
            raise SetupError(
                f"{self.name}: its server does not report tokens of prompts and replies, so that "
                f"{'--max-tokens' if counts.spending.max_cost is None else '--max-cost'} cannot be kept. "
                "Run it without the limit"
            )
        counts.spending.add(cost or 0.0, tokens)

    def _cost(self, response: Response) -> float | None:
        """Return what a reply costs, if that is known; nothing if a filter refused the request unread."""
        if response.finish_reason == "refusal" and response.usage == _NOTHING:
            return 0.0
        return self.price.of(response.usage) if self.price else None


_NOTHING = Usage()


class Metered(Layer):
    """Counts the replies of a sender on a meter. At a limit of the command it sends nothing more."""

    def __init__(self, inner: Sender, meter: Meter) -> None:
        super().__init__(inner)
        self._meter = meter

    async def send(self, request: Request) -> Response:
        """Return the response. Raises ``SetupError`` where a limit cannot be kept."""
        counts = call_stats.current.get()
        self._meter.check(counts.spending)
        response = await self.inner.send(request)
        self._meter.pay(response, counts)
        return response
