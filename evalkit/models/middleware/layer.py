"""What all layers around a model call have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from evalkit.protocols import Sender
from evalkit.types import Request, Response


class Layer(ABC):
    """A sender around another one. Layers count what they do in the run's ``CallStats``."""

    def __init__(self, inner: Sender) -> None:
        self.inner = inner

    @abstractmethod
    async def send(self, request: Request) -> Response:
        """Answer one request. Raises ``evalkit.errors.ModelError``."""
