"""How long a reply will be: from an earlier run, or as this run teaches."""

from __future__ import annotations

import itertools

from evalkit.schedule.prefix import Ticket

REMEMBERED = 50_000
_NOTHING = (0, 0)


class Lengths:
    """Predicts output tokens: as is known, else the mean seen of this prefix, of this beginning, of
    requests with the same ``max_tokens``; before anything is seen, ``max_tokens``."""

    ENOUGH = 3

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}

    def predict(self, ticket: Ticket, known: int | None) -> int:
        """Output tokens to expect, between 1 and ``max_tokens``; ``known`` from an earlier run or not."""
        request = ticket.request
        if request.continuation is not None:
            return 1
        if known is None:
            known = self._learned(ticket)
        return max(1, min(known, request.max_tokens))

    def _learned(self, ticket: Ticket) -> int:
        for key in self._keys(ticket):
            n, total = self._seen.get(key, _NOTHING)
            if n >= self.ENOUGH:
                return total // n
        return ticket.request.max_tokens

    def observe(self, ticket: Ticket, tokens: int) -> None:
        """Remember how long a reply was."""
        if len(self._seen) > REMEMBERED:
            self._seen = dict(itertools.islice(self._seen.items(), REMEMBERED // 2, None))
        for key in self._keys(ticket):
            n, total = self._seen.get(key, _NOTHING)
            self._seen[key] = (n + 1, total + tokens)

    @staticmethod
    def _keys(ticket: Ticket) -> tuple[tuple[int, int], ...]:
        most = ticket.request.max_tokens
        return (ticket.group, most), (ticket.chain[1] if len(ticket.chain) > 1 else 0, most), (-1, most)
