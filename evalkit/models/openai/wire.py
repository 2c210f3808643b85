"""The OpenAI-compatible wire format, as pure functions: requests to payloads, replies to responses."""

from __future__ import annotations

import base64
import email.message
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.types import (
    Audio,
    FinishReason,
    Image,
    Message,
    Part,
    Request,
    Response,
    Text,
    Usage,
    Video,
)

_FINISH: dict[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refusal",
    "refusal": "refusal",
    "abort": "abort",
}
AUDIO_FORMATS = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_THINK = re.compile(r"\s*<think>(.*?)(?:</think>\s*|\Z)", re.DOTALL)
_THINK_END = "</think>"
# Servers fill in missing parameters from the model's generation_config or their own defaults: send them all.
# Every server knows those of the first row; servers of open models know those of the second, too.
_STANDARD = {"n": 1, "frequency_penalty": 0.0, "presence_penalty": 0.0}
_FULL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


def decoded(body: bytes, content_type: str | None) -> Any:
    """Decode JSON in UTF-8, as the standard requires, or else in the character set of the content type.

    Raises ``msgspec.DecodeError``, ``UnicodeDecodeError``.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        header = email.message.Message()
        header["Content-Type"] = content_type or ""
        try:
            text = body.decode(header.get_content_charset("utf-8"))
        except (LookupError, UnicodeError):  # an unknown character set, or not the true one
            text = ""
        if not text:
            raise
    return msgspec.json.decode(text)


def data_uri(part: Image | Video) -> str:
    """Return the part's bytes, unchanged, as a data URI."""
    return f"data:{part.media_type};base64,{_base64(part)}"


def message_payload(message: Message) -> dict[str, Any]:
    """Return one message with its parts in order."""
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    return {"role": message.role, "content": [_part_payload(part) for part in message.content]}


def _part_payload(part: Part) -> dict[str, Any]:
    match part:
        case Image():
            return {"type": "image_url", "image_url": {"url": data_uri(part)}}
        case Audio():
            sound = {"data": _base64(part), "format": AUDIO_FORMATS[part.media_type]}
            return {"type": "input_audio", "input_audio": sound}
        case Video():
            return {"type": "video_url", "video_url": {"url": data_uri(part)}}
    return {"type": "text", "text": part.text}


def _base64(part: Image | Audio | Video) -> str:
    try:
        return base64.b64encode(part.read()).decode()
    except OSError as problem:
        raise RequestRejected(f"{part.path} cannot be read: {problem.strerror}") from None


def media_of(request: Request) -> list[Image | Audio | Video]:
    """Return the parts of a request that are not text, in order."""
    contents = (message.content for message in request.messages)
    return [
        part
        for content in contents
        if not isinstance(content, str)
        for part in content
        if not isinstance(part, Text)
    ]


def media_bytes(request: Request) -> int:
    """Return about how many bytes of memory a request's media take: the bytes and twice their base64."""
    return sum(_size(part) * 11 // 3 for part in media_of(request))


def _size(part: Image | Audio | Video) -> int:
    if part.data is not None:
        return len(part.data)
    try:
        return Path(part.path or "").stat().st_size
    except OSError as problem:
        raise RequestRejected(f"{part.path} cannot be read: {problem.strerror}") from None


def sampling_payload(request: Request, *, full: bool) -> dict[str, Any]:
    """Return all sampling parameters of a request; with ``full`` also those of servers of open models."""
    payload: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        **_STANDARD,
        **(_FULL if full else {}),
    }
    if request.stop:
        payload["stop"] = list(request.stop)
    if request.seed is not None:
        payload["seed"] = request.seed
    if request.json_schema is not None:
        schema = {"name": "answer", "schema": request.json_schema, "strict": True}
        payload["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.regex is not None:
        # The names in SGLang, in vLLM before 0.12 and in vLLM since; a server ignores the names of others.
        payload["regex"] = payload["guided_regex"] = request.regex
        payload["structured_outputs"] = {"regex": request.regex}
    return payload


def plain_prompt(request: Request) -> str:
    """Return the text to complete: ``prompt``, or the one text message. Raises ``RequestRejected``."""
    if request.prompt is not None:
        return request.prompt
    if len(request.messages) == 1 and isinstance(request.messages[0].content, str):
        return request.messages[0].content
    raise RequestRejected("api=completions takes one text message; several messages or images need api=chat")


def part_of(value: Any, name: str) -> Mapping[str, Any]:
    """Return an object inside a reply, empty if it is missing. Raises ``ServerFailed`` for other values."""
    if value is None or isinstance(value, Mapping):
        return value or {}
    raise ServerFailed(f"the server's reply has a {name} that is no object: {str(value)[:200]!r}")


def read_usage(data: Any) -> Usage:
    """Return the token counts of a reply, in any of the forms that servers use."""
    usage = part_of(data, "usage")
    prompt = part_of(usage.get("prompt_tokens_details"), "prompt_tokens_details")
    completion = part_of(usage.get("completion_tokens_details"), "completion_tokens_details")
    image = prompt.get("image_tokens")
    if image is None:
        image = part_of(prompt.get("multimodal_tokens"), "multimodal_tokens").get("image")
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(prompt.get("cached_tokens")),
        reasoning_tokens=_count(completion.get("reasoning_tokens") or usage.get("reasoning_tokens")),
        image_tokens=None if image is None else _count(image),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def read_choice(data: Any) -> dict[str, Any]:
    """Return the first choice of a reply. Raises ``ServerFailed`` if there is none."""
    choices = data.get("choices") if isinstance(data, Mapping) else None
    if not isinstance(choices, Sequence) or not choices or not isinstance(choices[0], dict):
        raise ServerFailed(f"the server's reply holds no choices: {str(data)[:200]}")
    return choices[0]


def finish_reason(reason: Any) -> FinishReason:
    """Return evalkit's finish reason for a server's. Raises ``ServerFailed`` for an aborted request."""
    mapped = _FINISH.get(as_text(reason), "stop")
    if mapped == "abort":
        raise ServerFailed("the server aborted the request before its end")
    return mapped


def as_text(content: Any) -> str:
    """Return the text of a message's content, which may be text, null or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(as_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return ""


def reply(choice: Mapping[str, Any], message: Mapping[str, Any], **fields: Any) -> Response:
    """Return a ``Response`` from a chat message (``content``, ``reasoning_content``, ``refusal``)."""
    finish = finish_reason(choice.get("finish_reason"))
    refusal = as_text(message.get("refusal"))
    text = as_text(message.get("content")) or refusal
    if refusal:
        finish = "refusal"
    reasoning = as_text(message.get("reasoning_content") or message.get("reasoning"))
    if not reasoning:
        reasoning, text = split_reasoning(text)
    return Response(text=text, reasoning=reasoning, finish_reason=finish, **fields)


def split_reasoning(text: str) -> tuple[str, str]:
    """Split a reply ``<think>…</think>…`` into reasoning and answer.

    Where the chat template opens the block, the reply holds only its end. A block that is never closed leaves
    no answer.
    """
    match = _THINK.match(text)
    if match:
        return match[1].strip(), text[match.end() :]
    before, end, after = text.partition(_THINK_END)
    if end:
        return before.strip(), after.lstrip()
    return "", text
