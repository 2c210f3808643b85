"""Classifies an answer: ok, truncated, refused, empty or unparsed."""

from __future__ import annotations

import re

from evalkit.reading.abstention import abstains
from evalkit.reading.fold import fold
from evalkit.reading.patterns import regex
from evalkit.types import Answer, Response, Status

# A refusal (version 2 of the rule): the reply declines and says nothing else. The metrics judge a reply that
# also answers, or that says that the passages do not hold the answer.
_REFUSES = regex(
    r"\W*(?:(?:i'?m|i am)?\s?(?:very |so )?sorry,?\s(?:but )?|i apologi[sz]e,?\s(?:but )?|unfortunately,?\s"
    r"|as an? (?:ai|artificial|language)[\w\s-]{0,40},\s)*"
    r"(?:i|we)(?: am|'?m)?\s(?:cannot|can'?t|can not|unable to|not able to|won'?t|will not|must decline to)\s"
    r"(?:assist|help|answer|provide|comply|fulfil|do that|do this|discuss|give|offer|diagnose|engage)",
    re.IGNORECASE,
)
_GOES_ON = regex(r"\b(?:but|however|although|though|yet|still|nevertheless|that said)\b|:", re.IGNORECASE)
_COURTESY = regex(
    r"(?!.*\banswer(?: is|:))(?:.*\b(?:please|consult|doctor|physician|professional|healthcare|sorry"
    r"|apologi[sz]e|as an ai|language model|happy to|glad to|let me know|feel free|anything else"
    r"|if you (?:have|need|would|are)|policy|policies|guidelines|cannot|can't|unable|not able)\b)",
    re.IGNORECASE,
)
_SENTENCE = regex(r"(?<=[.!?])\s+|\n+")
_REFUSAL_CHARS = 400


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
    if answer.choice is None:
        reply = answer.reply
        if not reply.strip() and not _has_result(response):
            return Status.EMPTY
        if _refuses(reply):
            return Status.REFUSED
    return answer.status or Status.OK


def _refuses(reply: str) -> bool:
    """Return whether a reply declines to answer, with nothing but courtesy around it."""
    if len(reply) > _REFUSAL_CHARS:
        return False
    text = fold(reply).strip()
    if _REFUSES.match(text) is None:
        return False
    first, *others = _SENTENCE.split(text)
    refusal = _REFUSES.match(first)
    if refusal is None or _GOES_ON.search(first, refusal.end()) or abstains(text):
        return False
    return all(map(_COURTESY.match, others))


def _has_result(response: Response | None) -> bool:
    """Return whether a reply without text has something else: log-probabilities, or calls of tools."""
    return response is not None and (response.logprobs is not None or bool(response.tool_calls))
