"""The token counts of a reply of an OpenAI-compatible server, in any of the forms that servers use."""

from __future__ import annotations

from typing import Any

import msgspec

from evalkit.types import Usage, token_count

SPECIAL_TOKENS = 8  # the most that a reply has beside its text, or in place of one


def read_usage(data: Any) -> Usage:
    """Return the token counts of a reply, in any of the forms that servers use; 0 for what is no count.

    Some servers count what the model thought apart from ``completion_tokens``: xAI, Perplexity, and Gemini
    behind OpenAI's interface, where only the total tells.
    """
    usage = _mapping(data)
    prompt = _mapping(usage.get("prompt_tokens_details"))
    completion = _mapping(usage.get("completion_tokens_details"))
    image = prompt.get("image_tokens")
    if image is None:
        image = _mapping(prompt.get("multimodal_tokens")).get("image")
    counts = Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cached_tokens=prompt.get("cached_tokens") or 0,
        reasoning_tokens=completion.get("reasoning_tokens") or usage.get("reasoning_tokens") or 0,
        image_tokens=image,
        cache_write_tokens=prompt.get("cache_write_tokens") or 0,
    )
    if not (apart := _thought_apart(counts, token_count(usage.get("total_tokens")))):
        return counts
    return msgspec.structs.replace(
        counts, completion_tokens=counts.completion_tokens + apart, reasoning_tokens=apart
    )


def _thought_apart(counts: Usage, total: int) -> int:
    """Return the tokens of reasoning that ``completion_tokens`` lacks; 0 where it has all of them."""
    apart = total - counts.prompt_tokens - counts.completion_tokens
    if apart > 0 and counts.reasoning_tokens in (0, apart):
        return apart
    return counts.reasoning_tokens if counts.reasoning_tokens > counts.completion_tokens else 0


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
