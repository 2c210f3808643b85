"""After a broken connection: does the server still serve the model that the run began with?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from evalkit.errors import ProbeError, SetupError
from evalkit.requests import changes


class IdentityGuard:
    """The identity of the probed model, and the endpoints whose identity has to be checked again.

    ``identify`` returns the identity that the endpoint of a URL has now. It raises ``ProbeError`` if the
    endpoint does not serve the model.
    """

    def __init__(self, identify: Callable[[str], Awaitable[Mapping[str, Any]]]) -> None:
        self._identify = identify
        self._expected: Mapping[str, Any] | None = None
        self._doubted: set[str] = set()
        self._lock = asyncio.Lock()

    def trust(self, identity: Mapping[str, Any]) -> None:
        """Set the identity that endpoints must have."""
        self._expected = identity

    def doubt(self, url: str) -> None:
        """Check an endpoint before its next request: its connection broke, or its reply was none."""
        if self._expected is not None:
            self._doubted.add(url)

    async def check(self, url: str) -> None:
        """Check a doubted endpoint. Raises ``SetupError`` for another model, ``ModelError`` if it fails."""
        if url not in self._doubted:
            return
        async with self._lock:
            if url not in self._doubted:
                return
            try:
                identity = await self._identify(url)
            except ProbeError as problem:
                raise SetupError(f"{problem}. {_ANOTHER}") from None
            expected = self._expected or {}
            if identity != expected:
                raise SetupError(
                    f"{url} serves another model than before ({changes(expected, identity)}). {_ANOTHER}"
                )
            self._doubted.discard(url)


_ANOTHER = "Stopped here: serve the same model again, then resume the run"
