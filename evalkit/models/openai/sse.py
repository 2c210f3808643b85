"""Puts a streamed reply together from its server-sent events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.errors import ServerFailed
from evalkit.models.openai.wire import as_text, part_of
from evalkit.util.masking import excerpt


class StreamedReply:
    """The part of a streamed reply that has arrived."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.finish: Any = None
        self.usage: Any = None
        self.model = ""
        self.first_token_s: float | None = None
        self.done = self._begun = False

    @property
    def is_complete(self) -> bool:
        """Whether the stream has ended and held a choice."""
        return self._begun and (self.done or self.finish is not None)

    def add(self, chunk: Any, elapsed_s: float) -> None:
        """Add one event, ``elapsed_s`` after the request. Raises ``ServerFailed`` for a malformed event."""
        if not isinstance(chunk, Mapping):
            raise ServerFailed(f"the server streamed an event that is no part of a reply: {excerpt(chunk)}")
        self.usage = chunk.get("usage") or self.usage
        self.model = as_text(chunk.get("model")) or self.model
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping) or choice.get("index"):
                continue  # only the first choice was asked for
            self._begun = True
            delta = part_of(choice.get("delta"), "delta")
            self._add_delta(delta or {"content": choice.get("text")}, elapsed_s)
            self.finish = choice.get("finish_reason") or self.finish

    def _add_delta(self, delta: Mapping[str, Any], elapsed_s: float) -> None:
        reasoning = as_text(delta.get("reasoning_content") or delta.get("reasoning"))
        content, refusal = as_text(delta.get("content")), as_text(delta.get("refusal"))
        if self.first_token_s is None and (reasoning or content or refusal):
            self.first_token_s = elapsed_s
        self.content.append(content)
        self.reasoning.append(reasoning)
        self.refusal.append(refusal)

    def message(self) -> dict[str, str]:
        """Return the message as a reply that was not streamed would hold it."""
        return {
            "content": "".join(self.content),
            "reasoning_content": "".join(self.reasoning),
            "refusal": "".join(self.refusal),
        }
