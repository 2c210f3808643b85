"""Requests of paragraphs, for the tests of scheduling."""

from __future__ import annotations

from evalkit.types import Request


def ask(*paragraphs: str, max_tokens: int = 100) -> Request:
    """A plain prompt; what it shares with others are its first paragraphs."""
    return Request(prompt="\n\n".join(paragraphs), max_tokens=max_tokens)
