"""The base class of the layers around a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod

from evalkit.protocols import Sender
from evalkit.types import Request, Response


class Layer(ABC):
    """A sender that wraps another one and counts what it does in the run's ``CallStats``."""

    def __init__(self, inner: Sender) -> None:
        self.inner = inner

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``evalkit.errors.ModelError``."""
