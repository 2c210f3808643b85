"""The adapter of Google's Gemini interface, ``generateContent``: ``gemini:NAME[@URL]``.

``payload`` and ``read`` are the whole wire format, as pure functions. The names are those of the types in
Google's official SDK (``google-genai``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import RequestRejected, ServerFailed, UsageError
from evalkit.models.http import NO_LIST
from evalkit.models.openai import endings, wire
from evalkit.models.openai.tool_calls import own_turn, read_call, tool_choice
from evalkit.models.reasoning import Reasoning
from evalkit.models.spec import ModelSpec
from evalkit.models.turns import (
    leading_system,
    merged,
    object_arguments,
    parts_of,
    text_of,
    with_extra,
)
from evalkit.models.vendor import LACKS, NO_THINKING, ThinkingPlan, VendorBackend
from evalkit.protocols import BatchService
from evalkit.reading.surrogates import whole, whole_values
from evalkit.types import Message, Part, Request, Response, ServerInfo, Text, ToolCall, Usage
from evalkit.util.masking import excerpt

VENDOR = "gemini"
_NAMES = {"max_tokens": "maxOutputTokens", "top_p": "topP", "stop": "stopSequences"}
# Fields beside the generationConfig; all other extra parameters belong into it.
_TOP = frozenset({"safetySettings", "cachedContent", "serviceTier", "store", "labels", "toolConfig", "tools"})
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
# Gemini 3 refuses a turn whose first call has no signature; this is Google's word for calls of other models.
_UNSIGNED = "skip_thought_signature_validator"
_MIME = {"audio/mpeg": "audio/mp3"}  # Google's name


def payload(request: Request, thinking: ThinkingPlan = NO_THINKING) -> dict[str, Any]:
    """Return the body of a request. Raises ``RequestRejected`` for what the interface cannot say."""
    system, rest = leading_system(request.messages)
    top = {name: value for name, value in request.extra.items() if name in _TOP}
    tools = [{"functionDeclarations": [_tool(tool) for tool in request.tools]}]
    fields: dict[str, Any] = {
        "contents": _contents(rest),
        "systemInstruction": {"parts": [{"text": text} for text in system]} if system else None,
        "generationConfig": _generation(request, thinking),
        "tools": tools if request.tools else None,
        "toolConfig": _tool_config(request),
    }
    return with_extra({name: value for name, value in fields.items() if value is not None}, top, {})


def _generation(request: Request, thinking: ThinkingPlan) -> dict[str, Any]:
    config: dict[str, Any] = {
        "maxOutputTokens": thinking.length(request.max_tokens),
        "temperature": request.temperature,
        "topP": request.top_p,
    }
    if stop := thinking.stop(request):
        config["stopSequences"] = list(stop)
    if request.seed is not None:
        config["seed"] = request.seed
    if request.json_schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": request.json_schema}
    if thinking.fields:
        config["thinkingConfig"] = dict(thinking.fields)
    extra = {name: value for name, value in request.extra.items() if name not in _TOP}
    return with_extra(config, extra, _NAMES)


def _contents(messages: Sequence[Message]) -> list[Any]:
    calls: dict[str, dict[str, str]] = {}
    turns = []
    for message in messages:
        calls |= _named_calls(message)
        turns.append(_turn(message, calls))
    return [{"role": role, "parts": parts} for role, parts in merged(turns, "Gemini")]


def _named_calls(message: Message) -> dict[str, dict[str, str]]:
    """Return what names the calls of a turn, by id: Gemini's own ids, where it gave any."""
    ids: list[Any] = [call.id for call in message.tool_calls]
    if (own := own_turn(message, VENDOR)) is not None:
        ids = [part["functionCall"].get("id") for part in own if part.get("functionCall")]
    return {
        call.id: {**({"id": id} if id else {}), "name": call.name}
        for call, id in zip(message.tool_calls, ids, strict=False)
    }


def _turn(message: Message, calls: Mapping[str, Mapping[str, str]]) -> tuple[str, list[Any]]:
    if message.role == "tool":
        return "user", [_tool_result(message, calls)]
    if message.role == "user":
        return "user", [_part(part) for part in parts_of(message)]
    if message.role != "assistant":
        raise RequestRejected(f"Gemini takes a message of role {message.role} only at the beginning")
    if (own := own_turn(message, VENDOR)) is not None:
        return "model", list(own)
    text = text_of(message)
    called: list[Any] = [
        {"functionCall": {**calls[c.id], "args": object_arguments(c)}} for c in message.tool_calls
    ]
    if called:
        called[0]["thoughtSignature"] = _UNSIGNED
    return "model", [*([{"text": text}] if text.strip() else []), *called]


def _tool_result(message: Message, calls: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    if (call := calls.get(message.tool_call_id)) is None:
        raise RequestRejected(f"no earlier message calls a tool with the id {message.tool_call_id!r}")
    parts = parts_of(message)
    text = "\n\n".join(part.text for part in parts if isinstance(part, Text))
    media = [_part(part) for part in parts if not isinstance(part, Text)]
    return {"functionResponse": {**call, "response": {"result": text}, **({"parts": media} if media else {})}}


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
    return {"functionCallingConfig": tool_choice(request, named, words)}


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
    finish, notes = endings.ending(
        word, request, usage, why if endings.finish_reason(word) == "abort" else None
    )
    parts = wire.part_of(candidate.get("content"), "content").get("parts") or []
    text = "".join(wire.as_text(part.get("text")) for part in parts if not part.get("thought"))
    if finish in ("other", "refusal"):  # why it is so, and what Gemini could not read
        text = text or wire.as_text(why)
    return Response(
        text=whole(text),
        finish_reason=finish,
        reasoning=whole("".join(wire.as_text(part.get("text")) for part in parts if part.get("thought"))),
        usage=usage,
        model=model,
        notes=notes,
        tool_calls=_calls(parts, wire.as_text(reply.get("responseId"))),
        native=_native(parts),
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
        read_call(call.get("id") or f"{reply}-{i}", call["name"], call.get("args") or {})
        for i, call in enumerate(calls)
    )


def _native(parts: Sequence[Mapping[str, Any]]) -> Any:
    """Return the turn as Gemini wrote it where it has more than texts and calls with ids, else None."""
    more = any(part.keys() - {"text", "functionCall"} for part in parts)
    unnamed = any("functionCall" in part and not part["functionCall"].get("id") for part in parts)
    return {VENDOR: whole_values(parts)} if more or unnamed else None


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
    reasoning: Reasoning,
    thinks: bool | None = None,
    *,
    most: int | None = None,
    context: int | None = None,
) -> ThinkingPlan:
    """Return how a model is to think. ``thinks``: whether it does; None: unknown.

    Raises ``UsageError`` for what Gemini or this model does not have.
    """
    effort, tokens, room = reasoning.effort, reasoning.tokens, reasoning.allowance(context)
    if effort is None and tokens is None:
        return ThinkingPlan({"includeThoughts": True}, room, most=most) if thinks else ThinkingPlan(most=most)
    if effort == "none":
        return ThinkingPlan({} if thinks is False else {"thinkingBudget": 0}, most=most)
    if thinks is False:
        raise UsageError(f"{' and '.join(reasoning.identity)}: this model does not think")
    if effort is None:
        return ThinkingPlan({"thinkingBudget": tokens, "includeThoughts": True}, room, fixed=True, most=most)
    if effort not in _EFFORTS:
        raise UsageError(f"model parameter effort={effort}: Gemini has none, {', '.join(_EFFORTS)}")
    return ThinkingPlan({"thinkingLevel": effort.upper(), "includeThoughts": True}, room, most=most)


class GeminiBackend(VendorBackend):
    """``gemini:NAME[@URL]``: Google's own service, or with a URL one with the same interface."""

    key_env = "GEMINI_API_KEY"
    vendor = "https://generativelanguage.googleapis.com/"
    default_url = vendor + "v1"
    image_formats = ("png", "jpeg", "webp")
    lacks: Mapping[str, str] = {**LACKS, "api": "it chooses between the interfaces that openai: can ask"}

    def __init__(self, spec: ModelSpec) -> None:
        if os.environ.get("GOOGLE_API_KEY"):  # the SDK's order
            self.key_env = "GOOGLE_API_KEY"
        super().__init__(spec)
        self.plan = thinking_of(spec.reasoning)

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers of every request."""
        return {"x-goog-api-key": key} if key else {}

    @property
    def model_path(self) -> str:
        """The model's place below the URL: ``models/NAME``, or the name itself if that has a folder."""
        return self.model if "/" in self.model else f"models/{self.model}"

    def target(self, url: str) -> str:
        """Return the address that answers chats, for the API at ``url``."""
        return f"{url}/{self.model_path}:generateContent"

    def payload(self, request: Request, plan: ThinkingPlan | None = None) -> dict[str, Any]:
        """Return the body of a chat request. Raises ``RequestRejected`` for what the interface cannot say."""
        return payload(request, plan or self.plan)

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
        thinks, context = entry.get("thinking"), entry.get("inputTokenLimit")
        most = entry.get("outputTokenLimit")
        self.set_plan_by(lambda: thinking_of(self.spec.reasoning, thinks, most=most, context=context))
        self.may_think = thinks is not False
        identity = self.identity(entry, version=entry.get("version"))
        return ServerInfo(identity, context, None, {"owned_by": "google"})
