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
    endpoint does not serve the model. ``agrees`` returns whether the endpoint answers as before.
    """

    def __init__(
        self,
        identify: Callable[[str], Awaitable[Mapping[str, Any]]],
        agrees: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._identify, self._agrees = identify, agrees
        self._expected: Mapping[str, Any] | None = None
        self._doubted: set[str] = set()
        self._away: set[str] = set()  # could not be connected to: may have been started again
        self._lock = asyncio.Lock()

    def trust(self, identity: Mapping[str, Any]) -> None:
        """Set the identity that endpoints must have."""
        self._expected = identity

    def doubt(self, url: str, *, away: bool) -> None:
        """Check an endpoint before its next request, because its connection broke or its reply was none.

        One that was ``away`` may have been started again with other weights: its answers are compared, too.
        """
        if self._expected is not None:
            self._doubted.add(url)
            self._away |= {url} if away else set()

    def doubts(self, url: str) -> bool:
        """Return whether an endpoint has to be checked before its next request."""
        return url in self._doubted

    async def check(self, url: str) -> None:
        """Check a doubted endpoint. Raises ``SetupError`` for another model, ``ModelError`` if it fails."""
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
            if url in self._away and not await self._agrees(url):
                raise SetupError(
                    f"{url} was away, and answers the same requests differently since: it has other weights "
                    f"or settings. {_ANOTHER}"
                )
            self._doubted.discard(url)
            self._away.discard(url)


_ANOTHER = "Stopped here: serve the same model again, then resume the run"
