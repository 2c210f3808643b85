"""What a model may think before it answers: options of its spec, allowance, shown name. For all vendors.

A task says how long its *answer* may be (``Request.max_tokens``). An adapter adds the allowance on top when
it builds the payload of a model that reasons, and never for one that does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from evalkit.errors import UsageError

ALLOWANCE = "reasoning_allowance"  # in a model's identity: the allowance that evalkit chose, not the spec
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MOST_TOKENS = 1_000_000  # of ``reasoning_tokens``: no model has a longer context for one reply

# The allowance where the spec sets none. DeepSeek-R1 and Qwen3 were published with replies of at most 32,768
# tokens. Half of the context is left for the prompt and the answer.
MOST_ALLOWANCE = 32_768
SHARE_OF_CONTEXT = 2


class Reasoning(Struct, frozen=True):
    """What a spec says about reasoning.

    - ``effort``: how hard the model should think, one of ``EFFORTS``; ``none``: not at all.
    - ``tokens``: how long it may think, on top of the answer.
    - ``marks``: what opens and closes reasoning in the text of its replies, where evalkit does not know it.
    """

    effort: str | None = None
    tokens: int | None = None
    marks: tuple[str, str] | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Reasoning:
        """Return what the options of a spec say. Raises ``UsageError`` for a contradiction."""
        effort, tokens = options.get("effort"), options.get("reasoning_tokens")
        if effort == "none" and tokens:
            raise UsageError(
                f"model parameters effort=none and reasoning_tokens={tokens}: effort=none switches reasoning "
                "off. Leave one of them out"
            )
        return cls(effort, tokens, options.get("reasoning_marks"))

    @property
    def identity(self) -> dict[str, Any]:
        """What changes the replies: part of the model's identity. Marks change only how a reply is read."""
        facts = {"effort": self.effort, "reasoning_tokens": self.tokens}
        return {name: value for name, value in facts.items() if value is not None}

    @property
    def suffix(self) -> str:
        """What a shown name ends with: ``?effort=low&reasoning_tokens=16000``; empty if nothing is set."""
        facts = self.identity | ({"reasoning_marks": ",".join(self.marks)} if self.marks else {})
        return "?" + "&".join(f"{name}={value}" for name, value in facts.items()) if facts else ""

    def allowance(self, context: int | None = None) -> int:
        """Return the tokens that a model which reasons may think; ``context`` is its length, if known."""
        if self.effort == "none":
            return 0
        if self.tokens is not None:
            return self.tokens
        return min(MOST_ALLOWANCE, context // SHARE_OF_CONTEXT) if context else MOST_ALLOWANCE

    def about_room(self, tokens: int) -> str:
        """Return what a reader of the screen should know of the room that a model has to think."""
        how = "" if self.tokens else " (another number: ?reasoning_tokens=N)"
        return f"up to {tokens:,} tokens for it are added to the length of each answer{how}"


def read_effort(text: str) -> str:
    """Return an effort. Raises ``ValueError``."""
    if text not in EFFORTS:
        raise ValueError(f"must be {', '.join(EFFORTS[:-1])} or {EFFORTS[-1]}")
    return text


def read_tokens(text: str) -> int:
    """Return a number of tokens. Raises ``ValueError``."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_TOKENS:
        raise ValueError(
            f"must be a whole number of tokens from 1 to {MOST_TOKENS:,}, such as 16000. "
            "To switch reasoning off: effort=none"
        )
    return int(text)


def read_marks(text: str) -> tuple[str, str]:
    """Return the two marks of ``OPEN,CLOSE``. Raises ``ValueError``."""
    first, _, last = map(str.strip, text.partition(","))
    if not first or not last or "," in last or first == last:
        raise ValueError("must be two different marks with a comma between them, such as <plan>,</plan>")
    return first, last
