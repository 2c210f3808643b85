"""The adapter of OpenAI's Responses interface: ``openai:NAME?api=responses``.

``payload`` and ``read`` are the whole wire format, as pure functions. The names are those of the types in
OpenAI's official SDK. Nothing is stored at OpenAI: what the model thought comes back encrypted, and goes
along with the next turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import RequestRejected, ServerFailed
from evalkit.models.http import HTTPBackend
from evalkit.models.openai import endings, wire
from evalkit.models.openai.backend import OpenAIBackend, set_by
from evalkit.models.openai.parameters import Parameters
from evalkit.models.openai.tool_calls import own_turn, read_call, tool_choice
from evalkit.models.reasoning import Reasoning
from evalkit.models.spec import ModelSpec
from evalkit.models.turns import (
    json_arguments,
    parts_of,
    text_of,
    with_call_ids,
    with_extra,
)
from evalkit.models.vendor import LACKS, NO_THINKING, ThinkingPlan, VendorBackend
from evalkit.protocols import BatchService
from evalkit.reading.surrogates import whole
from evalkit.requests import with_ids
from evalkit.types import (
    Image,
    Message,
    Part,
    Request,
    Response,
    ServerInfo,
    Text,
    Tool,
    ToolCall,
    Usage,
)
from evalkit.util.masking import excerpt

VENDOR = "responses"
_FINAL = "final_answer"  # the phase of a message; others comment on what the model does
LEAST_LENGTH = 16  # OpenAI refuses a smaller limit


def payload(request: Request, model: str, thinking: ThinkingPlan = NO_THINKING) -> dict[str, Any]:
    """Return the body of a request. Raises ``RequestRejected`` for what the interface cannot say."""
    fields: dict[str, Any] = {
        "model": model,
        "input": [item for message in request.messages for item in _items(message)],
        "max_output_tokens": max(LEAST_LENGTH, thinking.length(request.max_tokens)),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stream": False,
        **wire.OF_RESPONSES,
        **thinking.fields,
    }
    if request.tools:
        fields["tools"] = [_tool(tool) for tool in request.tools]
        fields["tool_choice"] = tool_choice(request, lambda name: {"type": "function", "name": name})
    if request.json_schema is not None:
        schema = {"type": "json_schema", "name": "answer", "schema": request.json_schema, "strict": True}
        fields["text"] = {"format": schema}
    return with_extra(fields, request.extra, {"max_tokens": "max_output_tokens"})


def _items(message: Message) -> list[Any]:
    if message.role == "tool":
        output = [_part(part) for part in parts_of(message)]
        plain = text_of(message) if all(item["type"] == "input_text" for item in output) else output
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": plain}]
    if message.role != "assistant":
        if isinstance(message.content, str):
            return [{"role": message.role, "content": message.content}]
        return [{"role": message.role, "content": [_part(part) for part in parts_of(message)]}]
    if (own := own_turn(message, VENDOR)) is not None:
        return list(own)
    text = text_of(message)
    calls = [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": json_arguments(call)}
        for call in message.tool_calls
    ]
    return [*([{"role": "assistant", "content": text}] if text or not calls else []), *calls]


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "input_text", "text": part.text}
        case Image():
            return {"type": "input_image", "image_url": wire.data_uri(part), "detail": "auto"}
    raise RequestRejected(
        f"the Responses interface takes text and pictures, no {type(part).__name__.lower()}"
    )


def _tool(tool: Tool) -> dict[str, Any]:
    schema = tool.parameters or {"type": "object", "properties": {}}
    described = {"description": tool.description} if tool.description else {}
    return {"type": "function", "name": tool.name, **described, "parameters": schema, "strict": False}


def read(data: Any, request: Request, model: str, **fields: Any) -> Response:
    """Return the response in a decoded reply. Raises ``ServerFailed`` for a reply that is none."""
    items = data.get("output") if isinstance(data, Mapping) else None
    if not isinstance(items, list):
        raise ServerFailed(f"the server's reply holds no output: {excerpt(data)}")
    usage = read_usage(data.get("usage"))
    finish, notes = endings.ending(_word(data), request, usage, data.get("error"))
    messages = [item for item in items if item["type"] == "message"]
    final = [item for item in messages if item.get("phase") == _FINAL] or messages
    refusal = _joined(messages, "refusal", "refusal")
    thoughts = [_thought(item, beside=final) for item in items]
    called = [item for item in items if item["type"] == "function_call"]
    calls = with_ids([read_call(c["call_id"], c["name"], c["arguments"]) for c in called], request.messages)
    return Response(
        text=whole(_joined(final, "output_text", "text") or refusal),
        finish_reason="refusal" if refusal else finish,
        reasoning=whole("\n\n".join(filter(None, thoughts))),
        usage=usage,
        model=whole(wire.as_text(data.get("model"))) or model,
        notes=notes,
        tool_calls=calls,
        native=_native(items, calls),
        **fields,
    )


def _native(items: Sequence[Mapping[str, Any]], calls: Sequence[ToolCall]) -> Any:
    """Return the turn as OpenAI wrote it where it has more than a text and calls, else None.

    OpenAI refuses reasoning that nothing follows.
    """
    messages = [item for item in items if item["type"] == "message"]
    more = len(messages) > 1 or any("phase" in item for item in messages)
    others = len(items) > len(messages) + len(calls)
    if not (more or others) or not (messages or calls):
        return None
    return {VENDOR: with_call_ids(items, "function_call", "call_id", calls)}


def _word(data: Mapping[str, Any]) -> Any:
    """Return the word for why a reply ended: its status, or what made it incomplete."""
    details = wire.part_of(data.get("incomplete_details"), "incomplete_details")
    return details.get("reason") or data.get("status")


def _joined(messages: Sequence[Mapping[str, Any]], kind: str, name: str) -> str:
    parts = [part for message in messages for part in message["content"]]
    return "".join(wire.as_text(part.get(name)) for part in parts if part["type"] == kind)


def _thought(item: Mapping[str, Any], beside: Sequence[Mapping[str, Any]]) -> str:
    """Return what an item tells of the way to the answer, which is in the messages ``beside`` it.

    That is the reasoning itself, else its summary, and comments before a final answer.
    """
    if item["type"] == "message":
        return "" if any(item is message for message in beside) else _joined([item], "output_text", "text")
    if item["type"] != "reasoning":
        return ""
    texts = item.get("content") or item.get("summary") or []
    return "\n\n".join(wire.as_text(text.get("text")) for text in texts)


def read_usage(data: Any) -> Usage:
    """Return the token counts of a reply."""
    usage = wire.part_of(data, "usage")
    prompt = wire.part_of(usage.get("input_tokens_details"), "usage")
    completion = wire.part_of(usage.get("output_tokens_details"), "usage")
    return Usage(
        prompt_tokens=usage.get("input_tokens") or 0,
        completion_tokens=usage.get("output_tokens") or 0,
        cached_tokens=prompt.get("cached_tokens") or 0,
        reasoning_tokens=completion.get("reasoning_tokens") or 0,
        cache_write_tokens=prompt.get("cache_write_tokens") or 0,
    )


def thinking_of(reasoning: Reasoning, *, summary: bool = True) -> ThinkingPlan:
    """Return how a model is to think. OpenAI takes no budget: the tokens are only room beside the answer.

    ``summary``: ask for a summary of what the model thought.
    """
    if not reasoning.identity:
        return NO_THINKING
    effort = {"effort": reasoning.effort} if reasoning.effort else {}
    told = {"summary": "auto"} if summary and reasoning.effort != "none" else {}
    return ThinkingPlan({"reasoning": effort | told}, reasoning.allowance())


class ResponsesBackend(VendorBackend):
    """``openai:NAME?api=responses``: OpenAI's own service, or with a URL one with the same interface."""

    key_env = OpenAIBackend.key_env
    vendor = OpenAIBackend.vendor
    default_url = OpenAIBackend.default_url
    image_formats = ("png", "jpeg", "webp")
    audio_formats: Mapping[str, str] = {}
    lacks: Mapping[str, str] = {**LACKS, "seed": "the Responses interface has no seed"}

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.plan = thinking_of(spec.reasoning)
        self.parameters = Parameters(set_by(spec))  # models that reason refuse some

    def target(self, url: str) -> str:
        """Return the address that answers chats, for the API at ``url``."""
        return f"{url}/responses"

    def payload(self, request: Request, plan: ThinkingPlan | None = None) -> dict[str, Any]:
        """Return the body of a chat request. Raises ``RequestRejected`` for what the interface cannot say."""
        return self.parameters.fit(payload(request, self.model, plan or self.plan), request)

    def read(self, data: Any, request: Request, **timing: Any) -> Response:
        """Return the response in a decoded reply. Raises ``ModelError`` for a reply that is none."""
        return read(data, request, self.model, **timing)

    def batches(self) -> BatchService | None:
        """Return OpenAI's batch interface, if the spec asks for it."""
        from evalkit.models.batch.openai import OpenAIBatches

        return OpenAIBatches(self) if self.spec.options.get("batch") else None

    def learn(self, problem: RequestRejected, payload: Mapping[str, Any], request: Request) -> None:
        """Take over what OpenAI refused in ``payload``, so that another try leaves it out.

        OpenAI gives summaries of what a model thought only to organizations that it has verified. Raises the
        ``problem`` itself if it is about something else, ``UsageError`` where the spec or the task set what
        is refused.
        """
        if "reasoning.summary" in problem.said and "summary" in payload.get("reasoning", {}):
            self.set_plan(thinking_of(self.spec.reasoning, summary=False))
        else:
            self.parameters.learn(problem, payload, request)

    async def facts(self, url: str, entry: dict[str, Any]) -> ServerInfo:
        """Return the facts of the model at ``url``."""
        identity = self.identity(entry, api=VENDOR)
        return ServerInfo(identity, None, None, {"owned_by": entry.get("owned_by")})


def open_openai(spec: ModelSpec) -> HTTPBackend:
    """Return the adapter for ``openai:``, by the ``api`` that the spec names."""
    return ResponsesBackend(spec) if spec.options.get("api") == VENDOR else OpenAIBackend(spec)
