"""A model that follows a script, for tests of tasks with several calls or with tools."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.model import Model, Reference
from evalkit.models.fake import FakeBackend
from evalkit.types import Request, Response


class ScriptedBackend(FakeBackend):
    """Makes ``turns`` in the order of the calls; further calls get the last one again.

    A turn is a text, a list of ``ToolCall.of(...)``, or a ``Response``.
    """

    def __init__(self, turns: Sequence[Reference | Response]) -> None:
        super().__init__(self._turn, name="scripted")
        self._turns = turns

    def _turn(self, request: Request) -> str | Response:
        turn = self._turns[min(len(self.requests), len(self._turns)) - 1]
        return turn if isinstance(turn, str | Response) else Response(text="", tool_calls=tuple(turn))


def scripted(*turns: Reference | Response) -> Model:
    """Return a model that makes these turns, one after the other: texts, lists of calls, responses.

    ``model.calls`` holds what it was asked. For example, for a task that searches once:
    ``scripted([ToolCall.of("search", query="aspirin")], "Aspirin relieves headache.")``.
    """
    return Model(ScriptedBackend(turns))
