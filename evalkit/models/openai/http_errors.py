"""Turns the error replies and rate-limit headers of all kinds of servers into evalkit's errors and values."""

from __future__ import annotations

import html
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import msgspec

from evalkit.errors import Overloaded, ProbeError, RequestRejected, ServerFailed
from evalkit.models.openai.wire import decoded
from evalkit.protocols import ReportedRateLimit
from evalkit.reading.patterns import regex
from evalkit.reading.surrogates import whole_values
from evalkit.util.masking import mask

_EXCERPT = 500
_NO_MODEL = regex(
    r"\bmodels?\b.*\b(does not exist|not found|not exist|not_found_error)|model_not_found", re.I | re.S
)
_BAD_KEY = regex(r"API key not valid|API_KEY_INVALID", re.IGNORECASE)  # Gemini's, with status 400
_NO_CREDIT = regex(r"insufficient_quota|billing_error|credit balance is too low", re.IGNORECASE)
# A vendor's filter withheld the reply because of the prompt. The messages of Azure, OpenAI, OpenRouter,
# Anthropic, Alibaba, DeepSeek, Volcengine.
_WITHHELD = regex(
    r"content[_ ]filter|content management policy|content[_ ]policy|ResponsibleAI|data_?inspection_?failed|"
    r"Sensitive ?Content|Content Exists Risk|usage polic|(?:was|been) flagged|flagged (?:as|by|for)|"
    r"requires moderation|blocked by .*safety|(?:bio|misalignment|content)_policy",
    re.IGNORECASE,
)
# The server could not read what the model wrote: the codes of Groq.
_GARBLED = ("tool_use_failed", "json_validate_failed", "output_parse_failed")
_WEB_PAGE = regex(r"\s*<(?:!doctype|html|head|body|h1)\b", re.IGNORECASE)
_TITLE = regex(r"<title>([^<]*\S[^<]*)</title>", re.IGNORECASE)
_TAG = regex(r"<[^<>]*>")


class Withheld(RequestRejected):
    """A vendor's content filter refused the request: a refusal, not a fault."""


class Garbled(RequestRejected):
    """The server could not read what the model wrote, such as a broken call: the fault of the model."""


def message_of(body: bytes) -> tuple[str, str]:
    """Return the message and the code of an error body, in any of the forms that servers use.

    The forms: ``error`` as an object or a text, ``detail``, or ``message`` at the top.
    """
    try:
        data = whole_values(decoded(body))
    except ValueError:
        return _shorten(_without_html(body.decode("utf-8", "replace"))), ""
    return _message_in(data)


def _without_html(text: str) -> str:
    """Return the words of a web page, as proxies send them for an error; other texts unchanged."""
    if not _WEB_PAGE.match(text):
        return text
    title = _TITLE.search(text)
    words = title[1] if title else _TAG.sub(" ", text)
    return f"{html.unescape(words).strip() or 'nothing'} (a web page, as a proxy sends it)"


def _message_in(data: Any) -> tuple[str, str]:
    while isinstance(data, Mapping):
        if isinstance(data.get("message"), Mapping | list):
            data = data["message"]  # Mistral's
        elif message := data.get("message"):
            param, text = data.get("param"), str(message)
            unnamed = isinstance(param, str) and f"'{param}'" not in text
            named = f" (param: '{param}')" if unnamed else ""
            return _shorten(text) + named[:100], str(data.get("code") or data.get("type") or "")
        elif inner := data.get("error") or data.get("detail"):
            data = inner
        else:
            break
    if isinstance(data, list) and data and all(isinstance(e, Mapping) and "msg" in e for e in data):
        return _shorten("; ".join(map(_sentence, data))), ""
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    return _shorten(text), ""


def _sentence(entry: Mapping[str, Any]) -> str:
    """Return what FastAPI says of one field: ``'top_k': Extra inputs are not permitted (it is -1)``."""
    place = [part for part in entry.get("loc") or () if isinstance(part, str)]
    value = entry.get("input")
    shown = f" (it is {value!r})" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    return (f"'{place[-1]}': " if place else "") + f"{entry['msg']}{shown}"


def fail(status: int, headers: Mapping[str, str], body: bytes, where: str) -> NoReturn:
    """Raise the error for a reply with an error status. ``where`` is the URL."""
    message, code = message_of(body)
    raise_for(status, message, code, where, retry_after(headers) or _retry_info(body))


def reports_error(data: Any) -> bool:
    """Return whether a decoded reply of status 200 holds an error."""
    return isinstance(data, dict) and bool(data.get("error") or data.get("object") == "error")


def fail_within(data: Any, body: bytes, where: str) -> None:
    """Raise the error inside a reply of status 200, if there is one. ``data`` is the decoded ``body``."""
    if reports_error(data):
        message, code = message_of(body)
        numeric = re.fullmatch("[45][0-9][0-9]", code)
        status = int(code) if numeric else 400 if _WITHHELD.search(f"{code} {message}") else 500
        raise_for(status, f"{message} (in a reply of status 200)", code, where)


def raise_for(status: int, message: str, code: str, where: str, after: float | None = None) -> NoReturn:
    """Raise the error for an HTTP status and a server's message. ``after`` is its Retry-After in seconds."""
    report = f"{where} answered {status}: {message.rstrip('.') or 'nothing'}"
    if status in (400, 403, 422, 451) and _WITHHELD.search(f"{code} {message}"):
        raise Withheld(report, status=status)
    if status == 400 and code in _GARBLED:
        raise Garbled(report, status=status, code=code)
    limited = status == 403 and after is not None  # a proxy's limit: no wrong key says when to try again
    if (status in (401, 403) and not limited) or (status == 400 and _BAD_KEY.search(message)):
        raise ProbeError(
            f"{report}. Put the right key into an environment variable and add ?key_env=ITS_NAME, or "
            "?header.NAME=$ITS_NAME for a server that takes the key in another header"
        )
    if status == 404 and _NO_MODEL.search(f"{message} {code}"):
        raise ProbeError(f"{report}. The model's name in the spec must be one that the server lists")
    if _NO_CREDIT.search(f"{code} {message}"):
        raise ProbeError(f"{report}. Waiting will not help")
    if limited or status in (429, 503, 529):  # 529: Anthropic's
        raise Overloaded(report, status=status, retry_after=after)
    if status in (408, 409, 425) or status >= 500:
        raise ServerFailed(report, status=status)
    raise RequestRejected(report, status=status, said=message, code=code)


_DURATION = regex(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the next try: Retry-After, else the reset of a used-up rate; else None."""
    after = _retry_after_header(headers)
    if after is not None:
        return after
    return max((left.reset_s for left in rates_left(headers).values() if left.units < 1), default=None)


def rates_left(headers: Mapping[str, str]) -> dict[str, ReportedRateLimit]:
    """Return what is left of the rates of ``requests`` and ``tokens``, as the headers report it.

    OpenAI's and Azure's form is ``x-ratelimit-remaining-requests: 0`` with ``x-ratelimit-reset-requests:
    1m2.5s``; Anthropic's is ``anthropic-ratelimit-requests-remaining`` with a date and time for the reset.
    """
    rates = {}
    for kind, remaining, reset, limit in _RATES:
        if (units := headers.get(remaining)) is None:
            continue
        reset_s = _seconds_until(headers.get(reset) or "", headers)
        most = headers.get(limit) or ""
        if kind not in rates and _NUMBER.fullmatch(units) and reset_s is not None:
            most_units = float(most) if _NUMBER.fullmatch(most) else math.inf
            rates[kind] = ReportedRateLimit(float(units), reset_s, most_units)
    return rates


_RATES = [
    (kind, *(form.format(value, kind=kind) for value in ("remaining", "reset", "limit")))
    for form in ("x-ratelimit-{}-{kind}", "anthropic-ratelimit-{kind}-{}")
    for kind in ("requests", "tokens")
]
_NUMBER = regex(r"\d+(\.\d+)?")


def _seconds_until(text: str, headers: Mapping[str, str]) -> float | None:
    """Return the seconds from now to ``1m2.5s``, ``62.5`` or a time in ISO 8601; None for other texts."""
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - now(headers))
    except ValueError:
        return None


def _retry_after_header(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or a date; None if there is none."""
    value = headers.get("retry-after") or ""
    if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
        return float(value)
    try:
        return max(0.0, _timestamp(value) - now(headers))
    except ValueError:
        return None


def _retry_info(body: bytes) -> float | None:
    """Return the seconds that Google's APIs ask to wait, which stand in the body; None if there are none."""
    found = _RETRY_DELAY.search(body.decode("utf-8", "replace"))
    return float(found[1]) if found else None


_RETRY_DELAY = regex(r'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')


def now(headers: Mapping[str, str]) -> float:
    """Return epoch seconds, by the server's clock if it sends a date: this machine's may be wrong."""
    try:
        return _timestamp(headers.get("date") or "")
    except ValueError:
        return time.time()


def _timestamp(text: str) -> float:
    """Return an HTTP date in epoch seconds. Raises ``ValueError`` for other texts."""
    when = parsedate_to_datetime(text)
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _shorten(text: str) -> str:
    text = mask(" ".join(text.split()))  # before the cut, which would leave half a key
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
