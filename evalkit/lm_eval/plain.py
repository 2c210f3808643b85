"""lm-eval's objects as plain values, for the store and for readers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from evalkit.lm_eval.ask import ChatText
from evalkit.lm_eval.pictures import as_png, is_picture


def plain(value: Any) -> Any:
    """Return a value in JSON's types: a picture as its hash, other objects by lm-eval's own rule."""
    from lm_eval.utils import handle_non_serializable

    def encode(inner: Any) -> Any:
        if is_picture(inner):
            return hashlib.sha256(as_png(inner)).hexdigest()
        return handle_non_serializable(inner)

    return json.loads(json.dumps(value, default=encode))


def plain_argument(value: Any) -> Any:
    return value.content if isinstance(value, ChatText) else plain(value)


def choices_of(leaf: Any, doc: Any) -> tuple[str, ...]:
    if leaf.get_config("doc_to_choice") is None:
        return ()
    return tuple(str(choice) for choice in leaf.doc_to_choice(doc))


def target_of(target: Any, choices: tuple[str, ...]) -> str | tuple[str, ...]:
    """Return the reference as text; the number of a choice becomes the choice."""
    if isinstance(target, list | tuple):
        return tuple(str(target_of(t, choices)) for t in target)
    if isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)


def reply_text(requests: list[dict[str, Any]], resps: list[list[Any]]) -> str:
    """Return a reply for readers: the likeliest continuation, or the log-probability of the only one."""
    first = [draws[0] for draws in resps]
    if requests[0]["type"] != "loglikelihood" or len(first) == 1:
        return str(first[0])
    best = max(range(len(first)), key=lambda i: first[i][0])
    return str(requests[best]["args"][-1]).strip()
