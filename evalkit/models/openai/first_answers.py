"""The first answers of a run, which a server that was away is asked for again: has it other weights now?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from evalkit.models.middleware.weights_check import compared, without_chance
from evalkit.protocols import RateLimits
from evalkit.types import Request, Response

MOST = 3

Ask = Callable[[str, Request], Awaitable[tuple[Response, RateLimits]]]


class FirstAnswers:
    """Remembers a few requests without chance and their answers. ``ask`` sends a request to a URL.

    ``drawn``: the server refuses the temperature, so that it draws each reply by chance.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.drawn = False
        self._answered: list[tuple[Request, Response]] = []

    def remember(self, request: Request, response: Response) -> None:
        """Keep an answer if it is one of the first."""
        if len(self._answered) < MOST and without_chance(request, drawn=self.drawn):
            self._answered.append((request, response))

    async def agree(self, url: str) -> bool:
        """Return whether the server at ``url`` answers at least half of the requests as before.

        Raises ``ModelError``.
        """

        async def send(request: Request) -> Response:
            return (await self._ask(url, request))[0]

        others = 0
        for request, before in self._answered:
            others += await compared(send, request, before, await send(request)) == "other"
        return others <= len(self._answered) / 2
