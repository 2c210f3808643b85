"""Amounts of US dollars as people read them."""

from __future__ import annotations

from decimal import Decimal

UNKNOWN = "unknown price"


def dollars(amount: float | None) -> str:
    """Return an amount as ``$1,240``, ``$1.24`` or ``$0.0000004``; ``unknown price`` for None."""
    if amount is None:
        return UNKNOWN
    if amount == 0:
        return "$0"
    if amount >= 0.1:
        return f"${amount:,.2f}" if amount < 1000 else f"${amount:,.0f}"
    return f"${Decimal(f'{amount:.2g}'):f}"
