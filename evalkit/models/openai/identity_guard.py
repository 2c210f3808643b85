"""Whether a server that was away is back with the model that the run began with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from evalkit.errors import ProbeError, SetupError
from evalkit.requests import changes


class IdentityGuard:
    """What was found by the probe, and the endpoints whose connections failed since they were looked at.

    ``look`` asks the endpoint of a URL what it serves; it raises ``ProbeError`` where that is not the model.
    """

    def __init__(self, look: Callable[[str], Awaitable[Mapping[str, Any]]]) -> None:
        self._look = look
        self._known: Mapping[str, Any] | None = None
        self._doubted: set[str] = set()
        self._looking = asyncio.Lock()

    def trust(self, identity: Mapping[str, Any]) -> None:
        """This is the model that is meant."""
        self._known = identity

    def doubt(self, url: str) -> None:
        """Its connection broke, or what it said was no reply."""
        if self._known is not None:
            self._doubted.add(url)

    async def check(self, url: str) -> None:
        """Look, where there is doubt. Raises ``SetupError`` for another model, ``ModelError`` while none is
        there."""
        if url not in self._doubted:
            return
        async with self._looking:
            if url not in self._doubted:
                return
            try:
                found = await self._look(url)
            except ProbeError as problem:
                raise SetupError(f"{problem}. {_ANOTHER}") from None
            known = self._known or {}
            if found != known:
                raise SetupError(
                    f"{url} serves another model than before ({changes(known, found)}). {_ANOTHER}"
                )
            self._doubted.discard(url)


_ANOTHER = "Stopped here: serve the same model again, then resume the run"
