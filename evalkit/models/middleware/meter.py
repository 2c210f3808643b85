"""Counts what the replies of a model cost: for the sample, the run and the command that ask for them.

``Scheduled`` counts every reply of a server here, once: retries, the response cache and equal requests in
flight lie outside of it. So a reply from the cache costs nothing, and equal requests are paid once.
"""

from __future__ import annotations

from evalkit.errors import SetupError
from evalkit.models.middleware.call_stats import CallStats
from evalkit.models.middleware.spending import Account, Spending, bill, no_price
from evalkit.models.prices import Price
from evalkit.types import Usage


class Meter:
    """Counts the replies of one model, called ``name`` in messages and in the provenance of runs.

    ``active``: whether there is anything to count, so that a model without a price costs no time.
    """

    def __init__(
        self, name: str, price: Price | None, account: Account = "judge", limits: Spending | None = None
    ) -> None:
        self.name, self.price, self._account = name, price, account
        self.active = price is not None or account == "judge" or bool(limits and limits.limited)

    def allow(self, spending: Spending) -> bool:
        """Return whether a call may be made. Raises ``SetupError`` for a cost limit without a price."""
        if spending.max_cost is not None and self.price is None:
            raise SetupError(no_price(self.name))
        return not spending.reached

    def pay(self, usage: Usage, counts: CallStats) -> None:
        """Count a reply. Raises ``SetupError`` where a limit cannot be kept."""
        cost = self.price.of(usage) if self.price else None
        bill.get().add(self._account, cost)
        if self.price is not None and self.price.facts:
            counts.prices[self.name] = self.price
        if cost:
            counts.spent[self._account] += cost
        counts.spending.add(cost, usage, self.name)
