"""Why a reply ended: evalkit's finish reason for every vendor's word, and notes on words that say more."""

from __future__ import annotations

import re
from typing import Any

from evalkit.errors import ServerFailed
from evalkit.types import FinishReason, Request, Usage
from evalkit.util.masking import excerpt, mask_value

# Every vendor's words for why a reply ended, in lower case. Whatever is not in the first row is no stop.
# Those of the last row say that the server could not read what the model wrote, which is the model's fault.
_FINISH_WORDS: dict[FinishReason, str] = {
    "stop": """
        stop stop_sequence stop_token stop_str eos eos_token eos_found end end_turn
        end_of_turn end_of_text endoftext eot complete completed done finished normal success
        succeeded word stop_criteria_met tool_call tool_calls tool_use function_call
    """,
    "length": """
        length limit max_tokens max_length max_new_tokens max_output_tokens
        max_completion_tokens model_length token_limit error_limit length_limit incomplete
        truncated context context_length context_length_exceeded context_window_exceeded
        model_context_window_exceeded maximum_tokens not_finished in_progress time_limit
        budget_exhausted continuation
    """,
    "refusal": """
        content_filter content_filtered content_moderation content_policy_violation
        policy_violation guardrail_intervened model_armor refusal refused safety recitation
        blocklist blocked blocked_by_safety safety_filter sensitive_content unsafe moderated
        prohibited_content spii sensitive moderation language image_safety
        image_prohibited_content image_recitation error_toxic escalation
    """,
    "abort": """
        abort aborted error errored fail failed failure cancel cancelled canceled user_cancel
        interrupted network_error connection_error server_error internal_error engine_error
        insufficient_system_resource overloaded unavailable timeout timed_out other
        image_other no_image pause_turn user_cancelled user_canceled missing_thought_signature
        internal disconnected preempted shutdown load_shedding insufficient_quota quota_exceeded
        rate_limit rate_limit_exceeded rate_limited pup_limited_disabled
    """,
    "other": """
        malformed_function_call malformed_tool_call unexpected_tool_call too_many_tool_calls
        malformed_model_output malformed_tool_use malformed_response
    """,
}
_FINISH = {word: ours for ours, words in _FINISH_WORDS.items() for word in words.split()}
_WORD_BORDER = re.compile(r"[-\s]+|(?<=[a-z])(?=[A-Z])")  # max-tokens, max tokens, maxTokens


def finish_reason(word: Any) -> FinishReason:
    """Return evalkit's finish reason for any vendor's word.

    ``other``: the server could not read what the model wrote, or evalkit does not know the word. ``abort``:
    the provider gave the reply up half-way. A word that is missing or null says nothing: ``stop``.
    """
    if isinstance(word, dict):  # {"type": "length"}
        word = word.get("type")
    if word is None or word == "":
        return "stop"
    known = _FINISH.get(word) if isinstance(word, str) else "other"
    return known or _FINISH.get(_plain_word(word), "other")


def _plain_word(word: str) -> str:
    plain = _WORD_BORDER.sub("_", word.strip()).lower().rpartition(".")[2]
    return plain.removeprefix("finish_reason_")


def ending(
    word: Any, request: Request, usage: Usage, error: Any = None
) -> tuple[FinishReason, tuple[str, ...]]:
    """Return the finish reason for a vendor's ``word``, and notes on a word that is not known.

    Raises ``ServerFailed`` for a reply that the provider gave up half-way.
    """
    finish = finish_reason(word)
    if finish == "abort" or error:
        why = f": {_short(error)}" if error else ""
        raise ServerFailed(f"the server aborted the reply half-way (finish_reason {_short(word)}){why}")
    if not word and 0 < request.max_tokens <= usage.completion_tokens:
        finish = "length"  # the server gives no reason, but the reply is as long as it may be
    return finish, ending_notes(word, finish)


def ending_notes(word: Any, finish: FinishReason) -> tuple[str, ...]:
    """Return what a reader should know of a reply that ended with ``word``, read as ``finish``."""
    if finish != "other":
        return ()
    known = isinstance(word, str) and _plain_word(word) in _FINISH
    why = ": the server could not read what the model wrote" if known else " is not known: not credited"
    return (f"finish_reason {_short(word)}{why}",)


def _short(value: Any) -> str:
    return excerpt(repr(mask_value(value)))
