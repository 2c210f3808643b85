"""The OpenAI-compatible wire format, as pure functions: requests to payloads, replies to responses."""

from __future__ import annotations

import base64
import email.message
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.models.openai import endings
from evalkit.models.openai.tool_calls import native_turn, note_without_calls, read_calls, turn_payload
from evalkit.reading.surrogates import whole
from evalkit.types import (
    Audio,
    Image,
    Message,
    Part,
    Request,
    Response,
    Text,
    Usage,
    Video,
)
from evalkit.util.boundary import reason
from evalkit.util.masking import excerpt

AUDIO_FORMATS = {"audio/wav": "wav", "audio/mpeg": "mp3"}
# Servers fill in missing parameters from the model's generation_config or their own defaults: send them all.
# Every server knows those of the first row; servers of open models know those of the second, too.
STANDARD = {"n": 1, "frequency_penalty": 0.0, "presence_penalty": 0.0}
FULL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
# Of the Responses interface: nothing is stored, too long a prompt is an error, thoughts come back encrypted.
OF_RESPONSES = {"store": False, "truncation": "disabled", "include": ["reasoning.encrypted_content"]}
WITH_USAGE = {"include_usage": True}  # the stream_options with which a stream ends in its token counts


def decoded(body: bytes, content_type: str | None = None) -> Any:
    """Decode JSON as servers write it.

    The standard's JSON comes first. Then that of Python's ``json``: a mark of the byte order, UTF-16, NaN and
    Infinity, numbers of any size, half an emoji; then the character set of the content type. Raises
    ``ValueError``.
    """
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as problem:
        failure: ValueError = problem if isinstance(problem, ValueError) else ValueError("nested too deep")
    header = email.message.Message()
    header["Content-Type"] = content_type or ""
    for encoding in (json.detect_encoding(body), header.get_content_charset("utf-8")):
        try:
            return json.loads(body.decode(encoding, "surrogatepass"))
        except (LookupError, ValueError, RecursionError):  # another character set, or no JSON
            continue
    raise failure


def data_uri(part: Image | Video) -> str:
    """Return the part's bytes, unchanged, as a data URI."""
    return f"data:{part.media_type};base64,{base64_of(part)}"


def message_payload(message: Message) -> dict[str, Any]:
    """Return one message with its parts in order."""
    content: Any = message.content
    if not isinstance(content, str):
        content = [_part_payload(part) for part in content]
    if message.tool_calls or message.tool_call_id:
        return turn_payload(message, content)
    return {"role": message.role, "content": content}


def _part_payload(part: Part) -> dict[str, Any]:
    match part:
        case Image():
            return {"type": "image_url", "image_url": {"url": data_uri(part)}}
        case Audio():
            sound = {"data": base64_of(part), "format": AUDIO_FORMATS[part.media_type]}
            return {"type": "input_audio", "input_audio": sound}
        case Video():
            return {"type": "video_url", "video_url": {"url": data_uri(part)}}
    return {"type": "text", "text": part.text}


def base64_of(part: Image | Audio | Video) -> str:
    """Return the part's bytes, unchanged, in base64. Raises ``RequestRejected`` if they are gone."""
    try:
        return base64.b64encode(part.read()).decode()
    except OSError as problem:
        raise RequestRejected(f"{part.path} cannot be read: {problem.strerror}") from None


def media_of(request: Request) -> list[Image | Audio | Video]:
    """Return the parts of a request that are not text, in order."""
    return [
        part
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
        if not isinstance(part, Text)
    ]


def media_bytes(request: Request) -> int:
    """Return about how many bytes of memory a request's media take: the bytes and twice their base64."""
    return sum([_size(part) * 11 // 3 for part in media_of(request)])


def _size(part: Image | Audio | Video) -> int:
    if part.data is not None:
        return len(part.data)
    try:
        return Path(part.path or "").stat().st_size
    except OSError as problem:
        raise RequestRejected(f"{part.path} cannot be read: {problem.strerror}") from None


def with_extra(payload: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload with further parameters. Parameters whose value is None are left out.

    A vendor's own ``tools`` stand behind those of the task.
    """
    if not extra:
        return payload
    if isinstance(extra.get("tools"), list):
        extra = {**extra, "tools": [*payload.get("tools", ()), *extra["tools"]]}
    payload = {**payload, **extra}
    if None in extra.values():
        return {name: value for name, value in payload.items() if extra.get(name, ...) is not None}
    return payload


def sampling_payload(request: Request, *, full: bool) -> dict[str, Any]:
    """Return all sampling parameters of a request; with ``full`` also those of servers of open models."""
    payload: dict[str, Any] = {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        **STANDARD,
        **(FULL if full else {}),
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
    if request.has_tools:
        raise RequestRejected("api=completions takes no tools: they need api=chat")
    if len(request.messages) == 1 and isinstance(request.messages[0].content, str):
        return request.messages[0].content
    raise RequestRejected("api=completions takes one text message; several messages or images need api=chat")


class reading:  # a function to its users; as a generator it takes three times as long
    """Raise ``ServerFailed`` where a reply has another form than its API has: a number in a list's place."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, problem: BaseException | None, traceback: object) -> None:
        if isinstance(problem, TypeError | AttributeError | LookupError | ValueError | ArithmeticError):
            why = excerpt(reason(problem))
            raise ServerFailed(f"{self._url} answered in another form than its API has ({why})") from problem


def part_of(value: Any, name: str) -> Mapping[str, Any]:
    """Return an object inside a reply, empty if it is missing. Raises ``ServerFailed`` for other values."""
    if value is None or isinstance(value, dict):
        return value or {}
    raise ServerFailed(f"the server's reply has a {name} that is no object: {excerpt(value)!r}")


def read_choice(data: Any) -> dict[str, Any]:
    """Return the first choice of a reply. Raises ``ServerFailed`` if there is none."""
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ServerFailed(f"the server's reply holds no choices: {excerpt(data)}")
    first: dict[str, Any] = choices[0]
    if not first.get("index"):  # servers may list them in any order
        return first
    return next((c for c in choices if isinstance(c, dict) and not c.get("index")), first)


_NO_TEXT = (dict, bool, int, float)


def content_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message. Raises ``ServerFailed`` for a content in which nothing can be text."""
    content = message.get("content")
    if isinstance(content, _NO_TEXT):
        raise ServerFailed(f"the server's reply has a content that is no text: {excerpt(content)}")
    return as_text(content)


def as_text(content: Any) -> str:
    """Return the text of a message's content, which may be text, null or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(as_text(part.get("text")) for part in content if _is_text(part))
    return ""


_THOUGHTS = ("thinking", "reasoning", "reasoning_content")


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") not in _THOUGHTS


def thoughts(message: Mapping[str, Any]) -> str:
    """Return the reasoning that a message holds in a field or in parts of its own."""
    if text := as_text(message.get("reasoning_content") or message.get("reasoning")):
        return text
    parts = message.get("reasoning_details") or message.get("content")
    if not isinstance(parts, list):
        return ""
    return "".join(
        as_text(part.get("thinking") or part.get("text"))
        for part in parts
        if isinstance(part, dict) and str(part.get("type")).partition(".")[0] in _THOUGHTS
    )


def reply(
    choice: Mapping[str, Any], message: Mapping[str, Any], request: Request, usage: Usage, **fields: Any
) -> Response:
    """Return a ``Response`` from a chat message (``content``, ``reasoning_content``, ``refusal``).

    Raises ``ServerFailed`` for a reply that the provider gave up half-way.
    """
    finish, notes = endings.ending(choice.get("finish_reason"), request, usage, choice.get("error"))
    refusal = as_text(message.get("refusal"))
    called = bool(message.get("tool_calls") or message.get("function_call"))
    if called and not request.has_tools and "tools" not in request.extra:
        notes = (*notes, "the model called a tool, although the request offered none")
    elif called:
        fields["tool_calls"] = calls = read_calls(message, request.messages)
        fields["native"] = native_turn(message, calls)
    elif request.tools and not refusal:
        notes += note_without_calls(content_of(message), thoughts(message), usage)
    return Response(
        text=whole(content_of(message) or refusal),
        reasoning=whole(thoughts(message)),
        finish_reason="refusal" if refusal else finish,
        usage=usage,
        notes=notes,
        **fields,
    )
