"""Prompt log-probabilities out of an echoed completion, and where in them a continuation begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import RequestRejected
from evalkit.models.wire import read_choice

# Two values of one log-probability, from reading and from writing the token, differ by rounding only.
_SAME = 1e-4
NO_CONTEXT = (
    "the continuation begins with the first token of the text, which has no log-probability: "
    "put at least one token before it, such as a line break"
)


@dataclass(frozen=True)
class Echo:
    """The prompt's tokens as text, their log-probabilities (the first has none), the best at each place."""

    tokens: list[str]
    logprobs: list[Any]
    best: list[float | None]

    def border(self, continuation: str) -> int:
        """The first token that holds a character of ``continuation``, the end of the prompt.

        A token that spans the border counts as continuation. Found from the end, so that special tokens
        at the start, which are no part of the text, do not matter. Raises ``RequestRejected``.
        """
        first, tail = len(self.tokens), ""
        while first > 0 and len(tail) < len(continuation):
            first -= 1
            tail = self.tokens[first] + tail
        if not tail.endswith(continuation):
            raise RequestRejected(
                f"the echoed tokens do not spell the continuation {continuation!r} (they end in {tail!r}); "
                "on an SGLang server use sglang: instead of openai:, which works on token ids"
            )
        if any(value is None for value in self.logprobs[first:]):
            raise RequestRejected(NO_CONTEXT)
        return first

    def is_greedy(self, first: int) -> bool | None:
        """Whether every token from ``first`` on is the most probable one; None where the server hides it."""
        best = self.best[first:]
        if any(value is None for value in best):
            return None
        pairs = zip(self.logprobs[first:], best, strict=True)
        return all(own >= (top or 0.0) - _SAME for own, top in pairs)


def read_echo(data: Any) -> Echo:
    """The prompt's part of an echoed completion. Raises ``RequestRejected`` where the server gave none."""
    logprobs = read_choice(data).get("logprobs")
    tokens = logprobs.get("tokens") if isinstance(logprobs, Mapping) else None
    count = ((data.get("usage") or {}).get("prompt_tokens")) or 0
    if not isinstance(logprobs, Mapping) or not isinstance(tokens, Sequence) or not 0 < count <= len(tokens):
        raise RequestRejected(
            "the server gives no log-probabilities of the prompt (it ignores echo). "
            "SGLang and vLLM give them; llama.cpp does not"
        )
    values = list(logprobs.get("token_logprobs") or [])[:count]
    tops = list(logprobs.get("top_logprobs") or [None] * count)[:count]
    if len(values) != count or len(tops) != count:
        raise RequestRejected("the server gives fewer log-probabilities than the prompt has tokens")
    best = [max(top.values()) if isinstance(top, Mapping) and top else None for top in tops]
    return Echo(list(tokens[:count]), values, best)
