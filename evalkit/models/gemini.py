"""The adapter of Google's Gemini interface, ``generateContent``: ``gemini:NAME[@URL]``.

``payload`` and ``read`` are the whole wire format, as pure functions. The names are those of the types in
Google's official SDK (``google-genai``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.errors import ProbeError, RequestRejected, ServerFailed, UsageError
from evalkit.models.http import NO_LIST, NO_THINKING, HTTPBackend, Thinking
from evalkit.models.openai import wire
from evalkit.models.spec import ModelSpec
from evalkit.models.turns import (
    leading_system,
    merged,
    object_arguments,
    own_turn,
    parts_of,
    read_arguments,
    text_of,
    tool_choice,
    with_extra,
)
from evalkit.protocols import BatchService
from evalkit.reading.surrogates import whole
from evalkit.types import (
    Message,
    Part,
    Request,
    Response,
    ServerInfo,
    Text,
    ToolCall,
    Usage,
)
from evalkit.util.masking import excerpt

VENDOR = "gemini"
_NAMES = {"max_tokens": "maxOutputTokens", "top_p": "topP", "stop": "stopSequences"}
# Fields beside the generationConfig; all other extra parameters belong into it.
_TOP = frozenset({"safetySettings", "cachedContent", "serviceTier", "store", "labels", "toolConfig", "tools"})
_LEVELS = {"minimal": 4_096, "low": 8_192, "medium": 16_384, "high": 32_768}
_MIME = {"audio/mpeg": "audio/mp3"}  # Google's name
_UNNAMED = "unnamed-"  # begins the ids that evalkit gives to calls without one: they are not sent


def payload(request: Request, thinking: Thinking = NO_THINKING) -> dict[str, Any]:
    """Return the body of a request. Raises ``RequestRejected`` for what the interface cannot say."""
    system, rest = leading_system(request.messages)
    top = {name: value for name, value in request.extra.items() if name in _TOP}
    fields: dict[str, Any] = {
        "contents": _contents(rest),
        "systemInstruction": {"parts": [{"text": text} for text in system]} if system else None,
        "generationConfig": _generation(request, thinking),
        "tools": [{"functionDeclarations": [_tool(tool) for tool in request.tools]}]
        if request.tools
        else None,
        "toolConfig": _tool_config(request),
    }
    return with_extra({name: value for name, value in fields.items() if value is not None}, top, {})


def _generation(request: Request, thinking: Thinking) -> dict[str, Any]:
    config: dict[str, Any] = {
        "maxOutputTokens": thinking.length(request.max_tokens),
        "temperature": request.temperature,
        "topP": request.top_p,
    }
    if request.stop:
        config["stopSequences"] = list(request.stop)
    if request.seed is not None:
        config["seed"] = request.seed
    if request.json_schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": request.json_schema}
    if thinking.fields:
        config["thinkingConfig"] = dict(thinking.fields)
    extra = {name: value for name, value in request.extra.items() if name not in _TOP}
    return with_extra(config, extra, _NAMES)


def _contents(messages: Sequence[Message]) -> list[Any]:
    names: dict[str, str] = {}
    turns = []
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        turns.append(_turn(message, names))
    return [{"role": role, "parts": parts} for role, parts in merged(turns, "Gemini")]


def _turn(message: Message, names: Mapping[str, str]) -> tuple[str, list[Any]]:
    if message.role == "tool":
        return "user", [_tool_result(message, names)]
    if message.role == "user":
        return "user", [_part(part) for part in parts_of(message)]
    if message.role != "assistant":
        raise RequestRejected(f"Gemini takes a message of role {message.role} only at the beginning")
    if (own := own_turn(message, VENDOR)) is not None:
        return "model", list(own)
    text = text_of(message)
    calls = [
        {"functionCall": {**_id(call.id), "name": call.name, "args": object_arguments(call)}}
        for call in message.tool_calls
    ]
    return "model", [*([{"text": text}] if text.strip() else []), *calls]


def _tool_result(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    if (name := names.get(message.tool_call_id)) is None:
        raise RequestRejected(f"no earlier message calls a tool with the id {message.tool_call_id!r}")
    parts = parts_of(message)
    text = "\n\n".join(part.text for part in parts if isinstance(part, Text))
    media = [_part(part) for part in parts if not isinstance(part, Text)]
    result = {**_id(message.tool_call_id), "name": name, "response": {"result": text}}
    return {"functionResponse": result | ({"parts": media} if media else {})}


def _id(name: str) -> dict[str, str]:
    return {} if not name or name.startswith(_UNNAMED) else {"id": name}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    return {
        "inlineData": {"mimeType": _MIME.get(part.media_type, part.media_type), "data": wire.base64_of(part)}
    }


def _tool(tool: Any) -> dict[str, Any]:
    schema = {"parametersJsonSchema": tool.parameters} if tool.parameters else {}
    return {"name": tool.name, **({"description": tool.description} if tool.description else {}), **schema}


def _tool_config(request: Request) -> Any:
    if not request.tools:
        return None

    def named(name: str) -> dict[str, Any]:
        return {"mode": "ANY", "allowedFunctionNames": [name]}

    words = {"auto": {"mode": "AUTO"}, "none": {"mode": "NONE"}, "required": {"mode": "ANY"}}
    return {"functionCallingConfig": tool_choice(request, named, **words)}


def read(data: Any, request: Request, model: str, **fields: Any) -> Response:
    """Return the response in a decoded reply. Raises ``ServerFailed`` for a reply that is none."""
    reply = wire.part_of(data, "reply")
    usage = read_usage(reply.get("usageMetadata"))
    model = whole(wire.as_text(reply.get("modelVersion"))) or model
    candidates = reply.get("candidates")
    if not candidates:
        return _blocked(reply, usage, model, fields)
    candidate = candidates[0]
    word, why = candidate.get("finishReason"), candidate.get("finishMessage")
    finish, notes = wire.ending(word, request, usage, why if wire.finish_reason(word) == "abort" else None)
    parts = wire.part_of(candidate.get("content"), "content").get("parts") or []
    return Response(
        text=whole("".join(wire.as_text(part.get("text")) for part in parts if not part.get("thought"))),
        finish_reason=finish,
        reasoning=whole("".join(wire.as_text(part.get("text")) for part in parts if part.get("thought"))),
        usage=usage,
        model=model,
        notes=notes,
        tool_calls=_calls(parts, wire.as_text(reply.get("responseId"))),
        native={VENDOR: parts} if any(_signed(part) for part in parts) else None,
        **fields,
    )


def _blocked(reply: Mapping[str, Any], usage: Usage, model: str, fields: Mapping[str, Any]) -> Response:
    """Return the refusal of a prompt. Raises ``ServerFailed`` for a reply with neither answer nor refusal."""
    feedback = wire.part_of(reply.get("promptFeedback"), "promptFeedback")
    if not (why := wire.as_text(feedback.get("blockReason"))):
        raise ServerFailed(f"the server's reply holds no candidates: {excerpt(reply)}")
    return Response(
        text=whole(wire.as_text(feedback.get("blockReasonMessage"))),
        finish_reason="refusal",
        usage=usage,
        model=model,
        notes=(f"refused by Gemini: the prompt was blocked, {why}",),
        **fields,
    )


def _calls(parts: Sequence[Mapping[str, Any]], reply: str) -> tuple[ToolCall, ...]:
    calls = [part["functionCall"] for part in parts if part.get("functionCall")]
    return tuple(
        ToolCall(
            call.get("id") or f"{_UNNAMED}{reply}-{i}", call["name"], *read_arguments(call.get("args") or {})
        )
        for i, call in enumerate(calls)
    )


def _signed(part: Mapping[str, Any]) -> bool:
    return bool(part.keys() - {"text", "functionCall"})


def read_usage(data: Any) -> Usage:
    """Return the token counts of a reply. ``candidatesTokenCount`` is without what the model thought."""
    usage = wire.part_of(data, "usage")
    thought = usage.get("thoughtsTokenCount") or 0
    details = usage.get("promptTokensDetails")
    images = [d.get("tokenCount") or 0 for d in details or () if d.get("modality") == "IMAGE"]
    return Usage(
        prompt_tokens=(usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0),
        completion_tokens=(usage.get("candidatesTokenCount") or 0) + thought,
        cached_tokens=usage.get("cachedContentTokenCount") or 0,
        reasoning_tokens=thought,
        image_tokens=sum(images) if details else None,
    )


def thinking_of(
    effort: str | None, tokens: int | None, thinks: bool | None = None, most: int | None = None
) -> Thinking:
    """Return how a model is to think; ``thinks``: whether it does at all, None: unknown.

    Raises ``UsageError`` for what Gemini or this model does not have.
    """
    if effort is None and tokens is None:
        usual = {"includeThoughts": True}  # it thinks by itself, at a level of its own
        return Thinking(usual, _LEVELS["high"], most=most) if thinks else Thinking(most=most)
    if effort == "none" or tokens == 0:
        return Thinking({} if thinks is False else {"thinkingBudget": 0}, most=most)
    if thinks is False:
        raise UsageError("this model does not think: leave out ?effort= and ?reasoning_tokens=")
    if effort is None:
        fields: dict[str, Any] = {"thinkingBudget": tokens, "includeThoughts": True}
        return Thinking(fields, tokens or 0, fixed=True, most=most)
    if effort not in _LEVELS:
        known = ", ".join(("none", *_LEVELS))
        raise UsageError(f"model parameter effort: Gemini has no effort {effort!r}; it has {known}")
    fields = {"thinkingLevel": effort.upper(), "includeThoughts": True}
    return Thinking(fields, tokens or _LEVELS[effort], most=most)


class GeminiBackend(HTTPBackend):
    """``gemini:NAME[@URL]``: Google's own service, or with a URL one with the same interface."""

    key_env = "GEMINI_API_KEY"
    vendor = "https://generativelanguage.googleapis.com/"
    default_url = vendor + "v1beta"
    image_formats = ("png", "jpeg", "webp")

    def __init__(self, spec: ModelSpec) -> None:
        if not os.environ.get(self.key_env):
            self.key_env = "GOOGLE_API_KEY"
        super().__init__(replace(spec, urls=tuple(map(_beta, spec.urls))))
        self._think(None, None)

    def headers(self, key: str | None) -> dict[str, str] | None:
        """Return the headers of every request."""
        return {"x-goog-api-key": key} if key else None

    def target(self, url: str) -> str:
        """Return the address that answers chats, for the API at ``url``."""
        return f"{url}/models/{self.model}:generateContent"

    def payload(self, request: Request) -> dict[str, Any]:
        """Return the body of a chat request. Raises ``RequestRejected`` for what the interface cannot say."""
        return payload(request, self.thinking)

    def read(self, data: Any, request: Request, **timing: Any) -> Response:
        """Return the response in a decoded reply. Raises ``ModelError`` for a reply that is none."""
        return read(data, request, self.model, **timing)

    def batches(self) -> BatchService | None:
        """Return Gemini's batch interface, if the spec asks for it."""
        from evalkit.models.batch.gemini import GeminiBatches

        return GeminiBatches(self) if self.spec.options.get("batch") else None

    async def entries(self, url: str) -> list[dict[str, Any]]:
        """Return the model's own page, else the list. Raises as ``send`` does."""
        if (own := await self.own_entry(url)) is not None:
            return [{**own, "id": self.model}]
        listing = await self.get_json(f"{url}/models?pageSize=1000", missing=NO_LIST)
        lines = wire.part_of(listing, "list of models").get("models") or []
        return [{**line, "id": str(line.get("name")).removeprefix("models/")} for line in lines]

    async def facts(self, url: str, entry: dict[str, Any]) -> ServerInfo:
        """Return the facts of the model at ``url``. Raises ``ProbeError`` for what it cannot do."""
        try:
            self._think(entry.get("thinking"), entry.get("outputTokenLimit"))
        except UsageError as problem:
            raise ProbeError(f"{self.name}: {problem}") from None
        identity = self.identity(entry, version=entry.get("version"))
        return ServerInfo(identity, entry.get("inputTokenLimit"), None, {"owned_by": "google"})

    def _think(self, thinks: bool | None, most: int | None) -> None:
        options = self.spec.options
        self.thinking = thinking_of(options.get("effort"), options.get("reasoning_tokens"), thinks, most)


def _beta(url: str) -> str:
    """Return the URL with the version that has schemas and thinking, where it names another or none."""
    return f"{url.removesuffix('/v1')}/v1beta" if url.endswith("/v1") else url
