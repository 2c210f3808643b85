"""Reads prompt log-probabilities from a completion, and finds where a continuation begins in them."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from evalkit.errors import RequestRejected
from evalkit.models.openai.usage import read_usage
from evalkit.models.openai.wire import read_choice

# The rounding difference of one token's log-probability between reading and writing the token.
_ROUNDING = 1e-4
NO_CONTEXT = (
    "the continuation begins with the first token of the text, which has no log-probability: "
    "put at least one token before it, such as a line break"
)


@dataclass(frozen=True)
class PromptLogprobs:
    """The tokens of a prompt as text, and for each position its log-probability and the best token's.

    The first token has no log-probability (None). ``best`` is None where the server does not report it.
    """

    tokens: list[str]
    logprobs: list[Any]
    best: list[float | None]

    def check_beginning(self, text: str) -> None:
        """Refuse two tokens for the beginning of ``text``, which begins with one. Raises ``RequestRejected``.

        Many servers put that token before every text, also before one that has it already.
        """
        begin = self.tokens[0] if len(self.tokens) > 1 and self.tokens[0] == self.tokens[1] else ""
        if begin and text.startswith(begin) and not text.startswith(begin * 2):
            raise RequestRejected(
                f"the server put {begin!r} before a text that begins with it: the model would read two. "
                "It ignores add_special_tokens=false; on an SGLang server use sglang: instead of openai:"
            )

    def border(self, continuation: str) -> int:
        """Return the index of the first token that holds a character of ``continuation``, the prompt's end.

        A token that spans the border counts as continuation. The search goes backwards from the end, so that
        special tokens at the start, which are not part of the text, do not matter. Where one character takes
        several tokens, vLLM gives the text to the last token and nothing to the others: all of them belong to
        the character. Raises ``RequestRejected`` if the tokens do not spell the continuation.
        """
        first, tail = len(self.tokens), ""
        while first > 0 and len(decomposed(tail)) < len(decomposed(continuation)):
            first -= 1
            tail = self.tokens[first] + tail
        while first > 0 and not tail[:1].isascii() and not self.tokens[first - 1]:
            first -= 1
        if first == 0 and self.logprobs[:1] == [None] and not self.tokens[0]:
            raise RequestRejected(NO_CONTEXT)  # vLLM does not report the first token
        if not decomposed(tail).endswith(decomposed(continuation)):
            raise RequestRejected(
                f"the echoed tokens do not spell the continuation {continuation!r} (they end in {tail!r}); "
                "on an SGLang server use sglang: instead of openai:, which works on token ids"
            )
        if first == 0 and self.logprobs[:1] == [None]:
            raise RequestRejected(NO_CONTEXT)
        return first

    def of_continuation(self, first: int) -> tuple[float, ...]:
        """Return the log-probabilities of the tokens from ``first`` on. Raises ``RequestRejected``."""
        return checked(self.logprobs[first:], self.tokens[first:])

    def is_greedy(self, first: int) -> bool | None:
        """Return whether all tokens from ``first`` on are the most probable; None if not reported."""
        best = self.best[first:]
        pairs = zip(self.logprobs[first:], best, strict=True)
        if any(top is not None and value < top - _ROUNDING for value, top in pairs):
            return False
        return None if None in best else True


def checked(values: Sequence[Any], tokens: Sequence[object]) -> tuple[float, ...]:
    """Return log-probabilities as a server gave them. Raises ``RequestRejected`` for a value that is none.

    ``tokens`` are the tokens' texts or numbers, for the message.
    """
    for value, token in zip(values, tokens, strict=True):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not -math.inf < value <= _ROUNDING:
            raise RequestRejected(
                f"the server gave {_named(value)} for the token {token!r}, which is no log-probability: "
                "it must be a finite number, at most 0. This answer cannot be scored"
            )
    return tuple(min(float(value), 0.0) for value in values)


def _named(value: Any) -> str:
    """Return a value as the server's JSON has it; NaN and Infinity are not the standard's, but Python's."""
    if value is None:
        return "no value (null)"
    try:
        text = json.dumps(value)[:80]
    except (TypeError, ValueError):
        text = repr(value)[:80]
    return f"{text} (Python's JSON)" if text in ("NaN", "Infinity", "-Infinity") else text


def decomposed(text: str) -> str:
    """Return text in form NFKD, for comparison with tokens: tokenizers join ``e`` and a combining accent."""
    return unicodedata.normalize("NFKD", text)


def read_echo(data: Any) -> PromptLogprobs:
    """Return the prompt's part of an echoed completion. Raises ``RequestRejected`` if there is none."""
    logprobs = read_choice(data).get("logprobs")
    tokens = logprobs.get("tokens") if isinstance(logprobs, Mapping) else None
    # The reply ends with one token that the server had to write. A usage that cannot be right does not count.
    count = read_usage(data.get("usage")).prompt_tokens or (len(tokens) - 1 if _listed(tokens) else 0)
    if not isinstance(logprobs, Mapping) or not _listed(tokens) or not 0 < count <= len(tokens):
        raise RequestRejected(
            "the server gives no log-probabilities of the prompt (it ignores echo). "
            "SGLang and vLLM give them; llama.cpp does not"
        )
    values = list(logprobs.get("token_logprobs") or [])[:count]
    tops = list(logprobs.get("top_logprobs") or [None] * count)[:count]
    if len(values) != count or len(tops) != count:
        raise RequestRejected("the server gives fewer log-probabilities than the prompt has tokens")
    # Entries are keyed by text, and parts of a character all have the empty text: their best is unknown.
    best = [_best(t.values()) if isinstance(t, Mapping) and "" not in t else None for t in tops]
    return PromptLogprobs([str(token) for token in tokens[:count]], values, best)


def _listed(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _best(values: Iterable[Any]) -> float | None:
    """Return the highest log-probability; None if there is none, or a value that is no number."""
    found = list(values)
    if not all(isinstance(value, int | float) and not math.isnan(value) for value in found):
        return None
    return max(found, default=None)


def read_prompt_logprobs(data: Any) -> PromptLogprobs:
    """Return vLLM's ``prompt_logprobs``: for each token of the prompt its own entry and the best token's.

    ``[null, {"785": {"logprob": -9.1, "rank": 40, "decoded_token": "The"}, "12": {…, "rank": 1}}, …]``.
    Raises ``RequestRejected`` if there are none.
    """
    choice = read_choice(data)
    rows = choice.get("prompt_logprobs") or (
        data.get("prompt_logprobs") if isinstance(data, Mapping) else None
    )
    if not _listed(rows) or not rows:
        raise RequestRejected(
            "the server gives no prompt_logprobs, which are vLLM's. Leave ?logprobs=prompt_logprobs out to "
            "use echo"
        )
    tokens: list[str] = []
    logprobs: list[Any] = []
    best: list[float | None] = []
    for row in rows:
        entries = [e for e in row.values() if isinstance(e, Mapping)] if isinstance(row, Mapping) else []
        # The entries are the prompt's token and the likeliest ones; the prompt's has the highest rank number.
        entry = max(entries, key=lambda e: e.get("rank") or 0, default=None)
        tokens.append((entry or {}).get("decoded_token") or "")
        logprobs.append(entry.get("logprob") if entry else None)
        best.append(_best(e.get("logprob") for e in entries))
    return PromptLogprobs(tokens, logprobs, best)
