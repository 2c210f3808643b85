"""What servers say when they fail, in all their dialects, as one kind of error with one clear message."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import msgspec

from evalkit.errors import Overloaded, ProbeError, RequestRejected, ServerFailed
from evalkit.protocols import ReportedRateLimit

_EXCERPT = 500
_NO_MODEL = re.compile(r"\bmodel\b.*\b(does not exist|not found|not exist)|model_not_found", re.I | re.S)
_STRICT_SAMPLING = re.compile(r"\b(top_k|min_p|repetition_penalty|guided_regex)\b")


def message_of(body: bytes) -> tuple[str, str]:
    """The message and the code of an error body: ``error`` as an object or a text, flat, or ``detail``."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _shorten(body.decode("utf-8", "replace")), ""
    return _read(data)


def _read(data: Any) -> tuple[str, str]:
    while isinstance(data, Mapping):
        if data.get("message"):
            return _shorten(str(data["message"])), str(data.get("code") or data.get("type") or "")
        inner = data.get("error") or data.get("detail")
        if not inner:
            break
        data = inner
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    return _shorten(text), ""


def fail(status: int, headers: Mapping[str, str], body: bytes, where: str) -> NoReturn:
    """Raise what a reply with an error status means. ``where`` is the URL."""
    message, code = message_of(body)
    raise_for(status, message, code, where, wait_asked(headers))


def fail_within(data: Any, body: bytes, where: str) -> None:
    """Raise what a reply means that says 200 and holds an error. ``data`` is the decoded ``body``."""
    if isinstance(data, Mapping) and (data.get("error") or data.get("object") == "error"):
        message, code = message_of(body)
        status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else 500
        raise_for(status, f"{message} (in a reply that began with 200)", code, where)


def raise_for(status: int, message: str, code: str, where: str, after: float | None = None) -> NoReturn:
    """Raise the error for an HTTP status and a server's message."""
    said = f"{where} answered {status}: {message or 'nothing'}"
    if status in (401, 403):
        raise ProbeError(
            f"{said}. Put the right key into an environment variable and name it: ?api_key_env=NAME"
        )
    if status == 404 and _NO_MODEL.search(f"{message} {code}"):
        raise ProbeError(f"{said}. The model's name in the spec must be one that the server lists")
    if code == "insufficient_quota":
        raise ProbeError(f"{said}. Waiting will not help")
    if status in (429, 503):
        raise Overloaded(said, status=status, retry_after=after)
    if status in (408, 409, 425) or status >= 500:
        raise ServerFailed(said, status=status)
    if _STRICT_SAMPLING.search(message):
        said += ". For a server that takes the standard parameters only, add ?sampling=standard"
    raise RequestRejected(said, status=status)


_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def wait_asked(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server wants to be left alone: Retry-After, else the reset of a used-up rate."""
    after = _retry_after(headers)
    if after is not None:
        return after
    return max((left.reset_s for left in rates_left(headers).values() if left.units < 1), default=None)


def rates_left(headers: Mapping[str, str]) -> dict[str, ReportedRateLimit]:
    """What headers say is left of the rates of ``requests`` and ``tokens``.

    ``x-ratelimit-remaining-requests: 0`` with ``x-ratelimit-reset-requests: 1m2.5s``, as OpenAI, Azure and
    those who follow them write it; ``anthropic-ratelimit-requests-remaining`` with a time of day.
    """
    found = {}
    for kind in ("requests", "tokens"):
        name = f"x-ratelimit-{{}}-{kind}"
        if (units := headers.get(name.format("remaining"))) is None:
            name = f"anthropic-ratelimit-{kind}-{{}}"
            if (units := headers.get(name.format("remaining"))) is None:
                continue
        reset_s, most = (
            _span(headers.get(name.format("reset")) or "", headers),
            headers.get(name.format("limit")) or "",
        )
        if _NUMBER.fullmatch(units) and reset_s is not None:
            found[kind] = ReportedRateLimit(
                float(units), reset_s, float(most) if _NUMBER.fullmatch(most) else math.inf
            )
    return found


_NUMBER = re.compile(r"\d+(\.\d+)?")


def _span(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds from now: ``1m2.5s``, plain seconds, or a time in ISO 8601; None for what is none of these."""
    if _NUMBER.fullmatch(text):
        return float(text)
    parts = _SPAN.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - _now(headers))
    except ValueError:
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header, which holds seconds or a date; None where it says nothing."""
    value = headers.get("retry-after") or ""
    if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
        return float(value)
    try:
        return max(0.0, _moment(value) - _now(headers))
    except ValueError:
        return None


def _now(headers: Mapping[str, str]) -> float:
    """Seconds of the epoch by the server's own clock where it tells: that of this machine may be wrong."""
    try:
        return _moment(headers.get("date") or "")
    except ValueError:
        return time.time()


def _moment(text: str) -> float:
    """Seconds of the epoch. Raises ``ValueError`` for what is no date of HTTP."""
    when = parsedate_to_datetime(text)
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp()


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
