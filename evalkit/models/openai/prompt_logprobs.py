"""Prompt log-probabilities out of a completion, and where in them a continuation begins."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import RequestRejected
from evalkit.models.openai.wire import read_choice

# Two values of one log-probability, from reading and from writing the token, differ by rounding only.
_SAME = 1e-4
NO_CONTEXT = (
    "the continuation begins with the first token of the text, which has no log-probability: "
    "put at least one token before it, such as a line break"
)


@dataclass(frozen=True)
class PromptLogprobs:
    """The prompt's tokens as text, their log-probabilities (the first has none), the best at each place.

    ``best`` is None where the server hides it.
    """

    tokens: list[str]
    logprobs: list[Any]
    best: list[float | None]

    def border(self, continuation: str) -> int:
        """The first token that holds a character of ``continuation``, the end of the prompt.

        A token that spans the border counts as continuation. Found from the end, so that special tokens
        at the start, which are no part of the text, do not matter. vLLM writes a character of several tokens
        at the last of them, and nothing at the others: they belong to it. Raises ``RequestRejected``.
        """
        first, tail = len(self.tokens), ""
        while first > 0 and len(decomposed(tail)) < len(decomposed(continuation)):
            first -= 1
            tail = self.tokens[first] + tail
        while first > 0 and not tail[:1].isascii() and not self.tokens[first - 1]:
            first -= 1
        if first == 0 and self.logprobs[:1] == [None] and not self.tokens[0]:
            raise RequestRejected(NO_CONTEXT)  # vLLM does not even say what the first token is
        if not decomposed(tail).endswith(decomposed(continuation)):
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
        pairs = zip(self.logprobs[first:], best, strict=True)
        if any(top is not None and own < top - _SAME for own, top in pairs):
            return False
        return None if None in best else True


def decomposed(text: str) -> str:
    """Text for comparison with what tokens spell: tokenizers join ``e`` and a combining accent."""
    return unicodedata.normalize("NFKD", text)


def read_echo(data: Any) -> PromptLogprobs:
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
    # Entries are named by texts, and pieces of characters all by none: which of them is best cannot be told.
    best = [max(t.values()) if isinstance(t, Mapping) and t and "" not in t else None for t in tops]
    return PromptLogprobs(list(tokens[:count]), values, best)


def read_prompt_logprobs(data: Any) -> PromptLogprobs:
    """vLLM's ``prompt_logprobs``: for each token of the prompt its own entry, ranked, and the best one's.

    ``[null, {"785": {"logprob": -9.1, "rank": 40, "decoded_token": "The"}, "12": {…, "rank": 1}}, …]``.
    Raises ``RequestRejected`` where the server gave none.
    """
    choice = read_choice(data)
    rows = choice.get("prompt_logprobs") or (
        data.get("prompt_logprobs") if isinstance(data, Mapping) else None
    )
    if not isinstance(rows, Sequence) or not rows:
        raise RequestRejected(
            "the server gives no prompt_logprobs, as vLLM does. Leave ?logprobs=prompt_logprobs out to ask "
            "by echo"
        )
    tokens: list[str] = []
    logprobs: list[Any] = []
    best: list[float | None] = []
    for row in rows:
        entries = list(row.values()) if isinstance(row, Mapping) else []
        # The prompt's own token comes with the likeliest ones: of these it has the highest rank number.
        own = max(entries, key=lambda entry: entry.get("rank") or 0, default=None)
        tokens.append((own or {}).get("decoded_token") or "")
        logprobs.append(own["logprob"] if own else None)
        best.append(max((entry["logprob"] for entry in entries), default=None))
    return PromptLogprobs(tokens, logprobs, best)
