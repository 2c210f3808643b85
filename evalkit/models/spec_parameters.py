"""The parameters that a model spec may have, each with the function that reads its value.

A function raises ``ValueError`` with what the value must be, or ``UsageError`` with a message of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from evalkit.errors import UsageError
from evalkit.models.reasoning import read_effort, read_marks, read_tokens
from evalkit.requests import wrong_value

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PASTED_KEY = re.compile(r"(?=.*\d)(?=.*[a-z]).{20,}")


def _flag(text: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}")
        return text

    return read


def _number(kind: type[int] | type[float], text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"must be a {'whole ' if kind is int else ''}number") from None


def _above_zero(kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = _number(kind, text)
        if not 0 < value <= 1e9:
            raise ValueError("must be a number above 0, and at most 1e9")
        return value

    return read


def _generation(name: str, kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = _number(kind, text)
        if wrong := wrong_value(name, value):
            raise ValueError(wrong)
        return value

    return read


def _proxy(text: str) -> str:
    parts = urlsplit(text)
    _ = parts.port  # raises ValueError for a number that is none
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise UsageError(
            "model parameter proxy: must be a URL without a password, such as http://proxy.example:3128"
        )
    return text


def _variable(text: str) -> str:
    """Return the name of an environment variable. The message for a pasted key does not repeat it."""
    known = text in os.environ
    if not _VARIABLE.fullmatch(text) or (not known and _PASTED_KEY.fullmatch(text)):
        raise UsageError(
            "model parameter key_env: takes the name of an environment variable, such as OPENAI_API_KEY, "
            "not the key itself"
        )
    return text


def _share(text: str) -> float:
    value = _number(float, text)
    if not 0 <= value < float("inf"):
        raise ValueError("must be the number of retries for each answered request, such as 0.5")
    return value


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(text.lower().replace("jpg", "jpeg").split(","))
    if not all(name.isalnum() for name in names):
        raise ValueError("must be names of picture formats, such as png,jpeg,webp")
    return names


def _stop(text: str) -> tuple[str, ...]:
    if not text:
        raise ValueError("must be a text that is not empty")
    return (text,)


def _label(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be a name")
    return text.strip()


GENERATION: dict[str, Callable[[str], Any]] = {
    "max_tokens": _generation("max_tokens", int),
    "temperature": _generation("temperature", float),
    "top_p": _generation("top_p", float),
    "seed": _generation("seed", int),
    "stop": _stop,
}
OPTIONS: dict[str, Callable[[str], Any]] = {
    "api": _one_of("chat", "completions", "responses"),
    "stream": _flag,
    "sampling": _one_of("full", "standard"),
    "logprobs": _one_of("echo", "prompt_logprobs", "native", "score"),
    "key_env": _variable,
    "timeout": _above_zero(float),
    "connect_timeout": _above_zero(float),
    "first_byte_timeout": _above_zero(float),
    "stall_timeout": _above_zero(float),
    "down_timeout": _above_zero(float),
    "proxy": _proxy,
    "retry_budget": _share,
    "max_inflight": _above_zero(int),
    "rpm": _above_zero(float),
    "tpm": _above_zero(float),
    "images": _formats,
    "max_pixels": _above_zero(int),
    "max_side": _above_zero(int),
    "video": _one_of("frames", "file"),
    "label": _label,
    "unlisted": _flag,
    "batch": _flag,
    "batch_wait": _above_zero(float),
    "effort": read_effort,
    "reasoning_tokens": read_tokens,
    "reasoning_marks": read_marks,
}
