"""Whether two names mean one model: a gateway that falls back to another model says so in its reply alone."""

from __future__ import annotations

from functools import lru_cache

from evalkit.reading.patterns import regex

_ROUTE = regex(r"(?::[\w.-]+|\.gguf)$")  # OpenRouter's ``:nitro``, Ollama's ``:latest``
_SNAPSHOT = regex(r"[-@](?:latest|preview|\d{4}-?\d{2}-?\d{2}|\d{2}-\d{2}|\d{3,4})$")


@lru_cache(1024)
def same_model(asked: str, answered: str) -> bool:
    """Return whether the names may be of one model: alike but for vendor, folder, route, or one's date."""
    if not answered or asked in ("", "default"):
        return True
    first, second = _bare(asked), _bare(answered)
    return first == second or _SNAPSHOT.sub("", first) == second or first == _SNAPSHOT.sub("", second)


def _bare(name: str) -> str:
    return _ROUTE.sub("", name.strip().rstrip("/").rpartition("/")[2].casefold())
