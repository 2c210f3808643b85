"""What calls cost: the bill of a sample, and the spending of a command with its limits."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Account = Literal["model", "judge"]
"""Who is paid: the model under test; or the judge and every other model that a run uses."""


@dataclass
class Bill:
    """What the calls of one sample cost, in US dollars.

    ``priced`` counts the calls of the model under test whose price is in ``model``. ``judge`` is None once a
    price is missing.
    """

    model: float = 0.0
    priced: int = 0
    judge: float | None = 0.0

    def add(self, account: Account, cost: float | None) -> None:
        """Add the cost of a call; None if it is not known."""
        if account == "judge":
            self.judge = None if cost is None or self.judge is None else self.judge + cost
        elif cost is not None:
            self.model += cost
            self.priced += 1

    def join(self, other: Bill) -> None:
        """Add what is on another bill."""
        self.model += other.model
        self.priced += other.priced
        self.judge = None if self.judge is None or other.judge is None else self.judge + other.judge

    def of_model(self, paid_calls: int) -> float | None:
        """Return the cost of the model's calls; None if not every one of its ``paid_calls`` has a price."""
        return self.model if self.priced >= paid_calls else None


_OUTSIDE_OF_SAMPLES = Bill()
bill: ContextVar[Bill] = ContextVar("bill", default=_OUTSIDE_OF_SAMPLES)
"""The bill of the sample in whose context a call is made."""


@dataclass
class Spending:
    """What a command has spent, and its limits in US dollars and in tokens of prompts and replies.

    ``on_limit`` is called once, with a sentence, when a limit is reached; from then on nothing is sent.
    """

    max_cost: float | None = None
    max_tokens: float | None = None
    on_limit: Callable[[str], None] = lambda why: None
    cost: float = 0.0
    tokens: int = 0
    reached: str = ""

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.max_cost is not None or self.max_tokens is not None

    def room_for(self, cost: float | None, tokens: float) -> tuple[float, str]:
        """Return the share of a further ``cost`` and ``tokens`` that the limits leave room for.

        1.0 where there is room for all; else with the options that limit it, for a message.
        """
        share, above = 1.0, []
        if self.max_cost is not None and cost and self.cost + cost > self.max_cost:
            share = max(0.0, self.max_cost - self.cost) / cost
            above.append(f"--max-cost {self.max_cost:g}")
        if self.max_tokens is not None and tokens and self.tokens + tokens > self.max_tokens:
            share = min(share, max(0.0, self.max_tokens - self.tokens) / tokens)
            above.append(f"--max-tokens {self.max_tokens:,.0f}")
        return share, " and ".join(above)

    def add(self, cost: float, tokens: int) -> None:
        """Add a call."""
        self.cost += cost
        self.tokens += tokens
        if self.reached:
            return
        if self.max_cost is not None and self.cost >= self.max_cost:
            self._stop(f"The cost limit is reached (--max-cost {self.max_cost:g})")
        elif self.max_tokens is not None and self.tokens >= self.max_tokens:
            self._stop(f"The token limit is reached (--max-tokens {self.max_tokens:,.0f})")

    def _stop(self, why: str) -> None:
        self.reached = why
        self.on_limit(why)


def no_price(name: str) -> str:
    """Return the message for a limit of cost where no price is known."""
    return (
        f'--max-cost: no price of {name} is known. Add it to evalkit.toml: [prices."{name}"] with input and '
        "output, in US dollars per million tokens; or limit tokens: --max-tokens 2e6"
    )
