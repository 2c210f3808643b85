"""lm-eval's objects as plain values: for the store, and for people to read."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from evalkit.lm_eval.ask import ChatText
from evalkit.lm_eval.pictures import as_png, is_picture


def plain(value: Any) -> Any:
    """A value as JSON can hold it, by lm-eval's own rule for what JSON cannot; a picture by its hash."""
    from lm_eval.utils import handle_non_serializable

    def held(inner: Any) -> Any:
        if is_picture(inner):
            return hashlib.sha256(as_png(inner)).hexdigest()
        return handle_non_serializable(inner)

    return json.loads(json.dumps(value, default=held))


def plain_argument(value: Any) -> Any:
    return value.content if isinstance(value, ChatText) else plain(value)


def choices_of(leaf: Any, doc: Any) -> tuple[str, ...]:
    if leaf.get_config("doc_to_choice") is None:
        return ()
    return tuple(str(choice) for choice in leaf.doc_to_choice(doc))


def target_of(target: Any, choices: tuple[str, ...]) -> str | tuple[str, ...]:
    """The reference as text; a choice's number as the choice."""
    if isinstance(target, list | tuple):
        return tuple(str(target_of(t, choices)) for t in target)
    if isinstance(target, int) and 0 <= target < len(choices):
        return choices[target]
    return str(target)


def said(requests: list[dict[str, Any]], resps: list[list[Any]]) -> str:
    """For people: the most probable continuation, or the log-probability of the only one."""
    first = [draws[0] for draws in resps]
    if requests[0]["type"] != "loglikelihood" or len(first) == 1:
        return str(first[0])
    best = max(range(len(first)), key=lambda i: first[i][0])
    return str(requests[best]["args"][-1]).strip()
