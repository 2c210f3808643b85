"""The probe of prompt log-probabilities: are they those of the server's own generation?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from evalkit.errors import ProbeError
from evalkit.models.openai import wire
from evalkit.types import Request

if TYPE_CHECKING:
    from evalkit.models.http import HTTPBackend
    from evalkit.models.openai.backend import OpenAIBackend

# Unlikely words. In a well-known phrase each token has a probability near 1, which would hide a server that
# shifts the probabilities by one position.
PROBE_TEXT = "The brown dog of seven? Lazy 41 over fox."
# The largest difference of a token's log-probability between reading and writing it, in half precision.
_TOLERANCE = 0.25


async def check_echo(backend: OpenAIBackend, url: str) -> None:
    """Check that prompt log-probabilities are those of generation. Raises ``ProbeError``."""
    sampling = wire.sampling_payload(Request(max_tokens=1), full=backend.full_sampling)
    payload = {"model": backend.model, **sampling, "logprobs": 1}
    _, _, echoed = await backend.read_prompt(url, PROBE_TEXT)
    echoed.of_continuation(echoed.border(PROBE_TEXT[-8:]))
    for position in positions(len(echoed.tokens)):
        suffix = "".join(echoed.tokens[position:])
        prefix = PROBE_TEXT[: len(PROBE_TEXT) - len(suffix)]
        asked = payload | {"prompt": prefix}
        written, _ = await backend.post_fitted(f"{url}/completions", asked, Request())
        compare_best(backend, echoed.best[position], _best_written(written))
    if any(
        value is not None and top is not None and value > top + _TOLERANCE
        for value, top in zip(echoed.logprobs, echoed.best, strict=True)
    ):
        raise_shifted(backend)


def positions(count: int) -> list[int]:
    """Return the positions, of ``count`` tokens, at which reading and writing are compared."""
    return sorted({count // 3, count // 2, 2 * count // 3, count - 1} - {0})


def _best_written(data: Any) -> float | None:
    logprobs = wire.read_choice(data).get("logprobs") or {}
    tops = logprobs.get("top_logprobs") or [None]
    return max(tops[0].values()) if isinstance(tops[0], dict) and tops[0] else None


def compare_best(backend: HTTPBackend, read: float | None, written: float | None) -> None:
    """Raise ``ProbeError`` if a best token's log-probabilities, read and written, differ."""
    if read is None or written is None or abs(read - written) > _TOLERANCE:
        raise_shifted(backend)


def raise_shifted(backend: HTTPBackend) -> NoReturn:
    """Raise the error for log-probabilities that belong to other tokens."""
    raise ProbeError(
        f"{backend.name}: the server's prompt log-probabilities are not those of its own generation "
        "(missing, shifted or from another distribution). Use SGLang or vLLM for this task"
    )
