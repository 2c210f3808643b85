"""The adapter of Anthropic's Messages interface: ``anthropic:NAME[@URL]``.

``payload`` and ``read`` are the whole wire format, as pure functions. The names are those of the types in
Anthropic's official SDK; the interface has no temperature, ``top_p`` or seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.errors import RequestRejected, ServerFailed, UsageError
from evalkit.models.http import NO_LIST
from evalkit.models.openai import endings, probe, wire
from evalkit.models.openai.tool_calls import own_turn, read_call, tool_choice
from evalkit.models.reasoning import Reasoning
from evalkit.models.spec import ModelSpec
from evalkit.models.turns import (
    leading_system,
    merged,
    object_arguments,
    parts_of,
    text_of,
    with_call_ids,
    with_extra,
)
from evalkit.models.vendor import LACKS, NO_THINKING, ThinkingPlan, VendorBackend
from evalkit.protocols import BatchService
from evalkit.reading.surrogates import whole
from evalkit.requests import with_ids
from evalkit.types import Image, Message, Part, Request, Response, ServerInfo, Text, Usage
from evalkit.util.masking import excerpt

VENDOR = "anthropic"
VERSION = "2026-10-21"
LEAST_BUDGET = 1024
_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def payload(request: Request, model: str, thinking: ThinkingPlan = NO_THINKING) -> dict[str, Any]:
    """Return the body of a request. Raises ``RequestRejected`` for what the interface cannot say."""
    _check_sampling(request)
    system, rest = leading_system(request.messages)
    output = dict(thinking.fields.get("output_config", {}))
    if request.json_schema is not None:
        output["format"] = {"type": "json_schema", "schema": request.json_schema}
    fields: dict[str, Any] = {
        "model": model,
        "max_tokens": thinking.length(request.max_tokens),
        "messages": _messages(rest),
        "system": "\n\n".join(system),
        "stop_sequences": [text for text in thinking.stop(request) if text.strip()],
        "tools": [_tool(tool.name, tool.description, tool.parameters) for tool in request.tools],
        "tool_choice": _tool_choice(request),
        **thinking.fields,
        "output_config": output,
    }
    fields = {name: value for name, value in fields.items() if value not in ("", [], {}, None)}
    return with_extra(fields, request.extra, {"stop": "stop_sequences"})


def _check_sampling(request: Request) -> None:
    """Raise ``RequestRejected`` if a task asks for a sampling that Anthropic does not have."""
    for name, usual in (("temperature", 0.0), ("top_p", 1.0)):
        value = getattr(request, name)
        if value != usual and name not in request.extra:
            raise RequestRejected(
                f"the task asks for {name}={value:g}, and Anthropic's interface has no {name}. "
                f"To let the model sample as it does: add ?{name}=unset"
            )


def _messages(messages: Any) -> list[dict[str, Any]]:
    turns = [_turn(message) for message in messages]
    return [{"role": role, "content": blocks} for role, blocks in merged(turns, "Anthropic")]


def _turn(message: Message) -> tuple[str, list[Any]]:
    if message.role == "tool":
        blocks = [_part(part) for part in parts_of(message)]
        result = {"type": "tool_result", "tool_use_id": message.tool_call_id}
        return "user", [result | ({"content": blocks} if blocks else {})]
    if message.role != "assistant":
        role = message.role if message.role == "user" else "system"
        return role, [_part(part) for part in parts_of(message)]
    if (own := own_turn(message, VENDOR)) is not None:
        return "assistant", [block for block in own if block["type"] != "text" or block["text"].strip()]
    text = text_of(message)
    blocks = [{"type": "text", "text": text}] if text.strip() else []
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": object_arguments(call)}
        for call in message.tool_calls
    ]
    return "assistant", [*blocks, *calls]


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            source = {"type": "base64", "media_type": part.media_type, "data": wire.base64_of(part)}
            return {"type": "image", "source": source}
    raise RequestRejected(f"Anthropic takes text and pictures, no {type(part).__name__.lower()}")


def _tool(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", **parameters}
    return {"name": name, "input_schema": schema} | ({"description": description} if description else {})


def _tool_choice(request: Request) -> Any:
    if not request.tools:
        return None
    words = {word: {"type": name} for word, name in (("auto", "auto"), ("none", "none"), ("required", "any"))}
    return tool_choice(request, lambda name: {"type": "tool", "name": name}, words)


def read(data: Any, request: Request, model: str, **fields: Any) -> Response:
    """Return the response in a decoded reply. Raises ``ServerFailed`` for a reply that is none."""
    blocks = data.get("content") if isinstance(data, Mapping) else None
    if not isinstance(blocks, list):
        raise ServerFailed(f"the server's reply holds no content: {excerpt(data)}")
    usage = read_usage(data.get("usage"))
    finish, notes = endings.ending(data.get("stop_reason"), request, usage)
    details = wire.part_of(data.get("stop_details"), "stop_details")
    text = _joined(blocks, "text")
    if finish == "refusal":
        text = text or wire.as_text(details.get("explanation"))
        notes += (f"refused by Anthropic: {details['category']}",) if details.get("category") else ()
    uses = [block for block in blocks if block["type"] == "tool_use"]
    calls = with_ids([read_call(c["id"], c["name"], c["input"]) for c in uses], request.messages)
    more = any(block["type"] not in ("text", "tool_use") for block in blocks)
    return Response(
        text=whole(text),
        finish_reason=finish,
        reasoning=whole(_joined(blocks, "thinking")),
        usage=usage,
        model=whole(wire.as_text(data.get("model"))) or model,
        notes=notes,
        tool_calls=calls,
        native={VENDOR: with_call_ids(blocks, "tool_use", "id", calls)} if more else None,
        **fields,
    )


def _joined(blocks: list[Any], kind: str) -> str:
    return "".join(wire.as_text(block.get(kind)) for block in blocks if block["type"] == kind)


def read_usage(data: Any) -> Usage:
    """Return the token counts of a reply. ``input_tokens`` is only what the prompt cache did not hold."""
    usage = wire.part_of(data, "usage")
    details = wire.part_of(usage.get("output_tokens_details"), "usage")
    read_cache, write = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    return Usage(
        prompt_tokens=sum(count or 0 for count in (usage.get("input_tokens"), read_cache, write)),
        completion_tokens=usage.get("output_tokens") or 0,
        cached_tokens=read_cache or 0,
        reasoning_tokens=details.get("thinking_tokens") or 0,
        cache_write_tokens=write or 0,
    )


def thinking_of(
    reasoning: Reasoning,
    can: Mapping[str, bool] | None = None,
    *,
    most: int | None = None,
    context: int | None = None,
) -> ThinkingPlan:
    """Return how a model is to think. ``can``: which of Anthropic's ways it has; what is missing is unknown.

    Raises ``UsageError`` for what Anthropic or this model does not have.
    """
    effort, tokens, has = reasoning.effort, reasoning.tokens, (can or {}).get
    if effort is None and tokens is None:
        return ThinkingPlan(most=most)
    if effort == "none":
        if not has("disabled", True):
            raise UsageError("model parameter effort=none: this model always thinks")
        return ThinkingPlan({"thinking": {"type": "disabled"}}, most=most)
    if effort is not None and (effort not in _EFFORTS or not has(effort, True)):
        known = ", ".join(("none", *(name for name in _EFFORTS if has(name, True))))
        raise UsageError(f"model parameter effort={effort}: this model has {known}")
    level = {"output_config": {"effort": effort}} if effort else {}
    if has("adaptive", True) and (effort is not None or not has("enabled", True)):
        fields: dict[str, Any] = {"thinking": {"type": "adaptive", "display": "summarized"}, **level}
        return ThinkingPlan(fields, reasoning.allowance(context), most=most)
    if not has("enabled", True):
        raise UsageError(f"{' and '.join(reasoning.identity)}: this model does not think")
    if tokens is None:
        raise UsageError(f"model parameter effort={effort}: this model needs ?reasoning_tokens=N beside it")
    if tokens < LEAST_BUDGET:
        raise UsageError(f"model parameter reasoning_tokens={tokens}: Anthropic takes {LEAST_BUDGET} or more")
    fields = {"thinking": {"type": "enabled", "budget_tokens": tokens, "display": "summarized"}, **level}
    return ThinkingPlan(fields, tokens, fixed=True, most=most)


class AnthropicBackend(VendorBackend):
    """``anthropic:NAME[@URL]``: Anthropic's own service, or with a URL one with the same interface."""

    key_env = "ANTHROPIC_API_KEY"
    vendor = "https://api.anthropic.com/"
    default_url = vendor + "v1"
    image_formats = ("png", "jpeg", "gif", "webp")
    audio_formats: Mapping[str, str] = {}
    lacks: Mapping[str, str] = {
        **LACKS,
        "api": "it chooses between the interfaces that openai: can ask",
        "temperature": "Anthropic's Messages interface has no temperature",
        "top_p": "Anthropic's Messages interface has no top_p",
        "seed": "Anthropic's Messages interface has no seed",
    }

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        if "max_tokens" in spec.extra:
            raise UsageError("model parameter max_tokens=unset: Anthropic's interface needs a length")
        self.plan = thinking_of(spec.reasoning)
        self.parameters.left_out = {name: self.lacks[name] for name in ("temperature", "top_p")}
        self.parameters.settle()

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers of every request."""
        return {"anthropic-version": VERSION, **super().headers(key)}

    def target(self, url: str) -> str:
        """Return the address that answers chats, for the API at ``url``."""
        return f"{url}/messages"

    def payload(self, request: Request, plan: ThinkingPlan | None = None) -> dict[str, Any]:
        """Return the body of a chat request. Raises ``RequestRejected`` for what the interface cannot say."""
        return payload(request, self.model, plan or self.plan)

    def read(self, data: Any, request: Request, **timing: Any) -> Response:
        """Return the response in a decoded reply. Raises ``ModelError`` for a reply that is none."""
        return read(data, request, self.model, **timing)

    def batches(self) -> BatchService | None:
        """Return Anthropic's batch interface, if the spec asks for it."""
        from evalkit.models.batch.anthropic import AnthropicBatches

        return AnthropicBatches(self) if self.spec.options.get("batch") else None

    async def entries(self, url: str) -> list[dict[str, Any]]:
        """Return the model's own page, which knows aliases, else the list. Raises as ``send`` does."""
        if (own := await self.own_entry(url)) is not None:
            return [{**own, "id": self.model, "root": own["id"]}]
        return probe.entries_of(await self.get_json(f"{url}/models?limit=1000", missing=NO_LIST))

    async def facts(self, url: str, entry: dict[str, Any]) -> ServerInfo:
        """Return the facts of the model at ``url``. Raises ``ProbeError`` for what it cannot do."""
        can, context = _abilities(entry), entry.get("max_input_tokens")
        most = entry.get("max_tokens")
        self.set_plan_by(lambda: thinking_of(self.spec.reasoning, can, most=most, context=context))
        self.may_think = can.get("thinking", True)
        server = {"created_at": entry.get("created_at")}
        return ServerInfo(self.identity(entry, root=entry.get("root")), context, None, server)


def _abilities(entry: Mapping[str, Any]) -> dict[str, bool]:
    """Return what the list of models says that a model can; empty if it says nothing."""
    capabilities = wire.part_of(entry.get("capabilities"), "capabilities")
    thinking = wire.part_of(capabilities.get("thinking"), "thinking")
    groups = (capabilities, wire.part_of(thinking.get("types"), "types"), capabilities.get("effort") or {})
    return {
        name: bool(ability["supported"])
        for group in groups
        for name, ability in group.items()
        if isinstance(ability, Mapping) and "supported" in ability
    }
