"""What all layers around a model call have in common."""

from __future__ import annotations

from typing import Any

from evalkit.types import Backend, Request, Requirements, Response, ServerInfo


class Layer:
    """A backend around another one; subclasses change ``send``, and count in the run's ``CallStats``."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        """``name``, ``defaults`` and whatever else the backend itself has."""
        return getattr(self.inner, name)

    async def send(self, request: Request) -> Response:
        """Pass the request on."""
        return await self.inner.send(request)

    async def probe(self, needs: Requirements) -> ServerInfo:
        """Pass the question on."""
        return await self.inner.probe(needs)

    async def close(self) -> None:
        """Close the inner backend."""
        await self.inner.close()
