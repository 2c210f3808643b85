"""Classifies an answer: ok, truncated, refused, empty or unparsed."""

from __future__ import annotations

import re

from evalkit.types import Answer, Response, Status

# A refusal at the start of a short reply (version 1 of the rule). A longer reply says more than a refusal.
_REFUSAL = re.compile(
    r"\W*(?:i['’]?m sorry,? but |sorry,? but |i apologi[sz]e,? but )?"
    r"(?:i|we)(?: am|['’]m)? (?:cannot|can['’]?t|can not|unable to|not able to|won['’]?t) "
    r"(?:assist|help|answer|provide|comply|fulfil|do that|discuss|give)",
    re.IGNORECASE,
)
_REFUSAL_CHARS = 300


def classify_answer(answer: Answer) -> Status:
    """Return the status of an answer: the first that applies.

    The order: a status that the task set (other than unparsed); refused by the server; truncated; empty;
    refused in words; unparsed, if the task said so; ok. A reply that ended for a reason that evalkit does not
    know is truncated, too.
    """
    if answer.status not in (None, Status.UNPARSED):
        return answer.status
    response = answer.response
    if response is not None and response.finish_reason == "refusal":
        return Status.REFUSED
    if response is not None and response.finish_reason in ("length", "other"):
        return Status.TRUNCATED
    if answer.choice is None and not answer.reply.strip() and not _has_logprobs(response):
        return Status.EMPTY
    if len(answer.reply) <= _REFUSAL_CHARS and _REFUSAL.match(answer.reply):
        return Status.REFUSED
    return answer.status or Status.OK


def _has_logprobs(response: Response | None) -> bool:
    return response is not None and response.logprobs is not None
