"""What each kind of model server sends, from the types of the vendors' official SDKs, and where.

A test says *what* a server answers (``Said``); a ``Dialect`` says how that server writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anthropic.types as anthropic
import openai.types.responses as openai
from google.genai import types as google
from openai.types.chat import ChatCompletion
from pydantic import BaseModel


class Tokens(NamedTuple):
    """The counts of one call: the whole prompt, what of it was cached and written, answer, thoughts."""

    prompt: int = 100
    cached: int = 0
    written: int = 0
    answer: int = 7
    thought: int = 0


class Said(NamedTuple):
    """One answer: ``calls`` are (id, name, arguments); ``finish`` is stop, length or refusal."""

    text: str = ""
    thought: str = ""
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = ()
    finish: str = "stop"
    tokens: Tokens = Tokens()


def _plain(reply: BaseModel) -> Any:
    return json.loads(reply.model_dump_json(by_alias=True, exclude_none=True))


def chat_reply(said: Said) -> Any:
    calls = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for id, name, arguments in said.calls
    ]
    refused = said.finish == "refusal"
    message = {"role": "assistant", "content": None if refused else said.text, "tool_calls": calls or None}
    message |= {"refusal": said.text or "No." if refused else None, "reasoning_content": said.thought or None}
    word = "length" if said.finish == "length" else "tool_calls" if calls else "stop"
    count = said.tokens
    usage = {
        "prompt_tokens": count.prompt,
        "completion_tokens": count.answer + count.thought,
        "total_tokens": count.prompt + count.answer + count.thought,
        "prompt_tokens_details": {"cached_tokens": count.cached, "cache_write_tokens": count.written},
        "completion_tokens_details": {"reasoning_tokens": count.thought},
    }
    choice = {"index": 0, "message": message, "finish_reason": word, "logprobs": None}
    facts = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny"}
    return _plain(ChatCompletion(**facts, choices=[choice], usage=usage))


def responses_reply(said: Said) -> Any:
    thought = {"type": "summary_text", "text": said.thought}
    items: list[Any] = []
    if said.thought:
        items.append({"type": "reasoning", "id": "rs_1", "summary": [thought], "encrypted_content": "sealed"})
    if said.text or said.finish == "refusal":
        refusal = {"type": "refusal", "refusal": said.text or "No."}
        text = {"type": "output_text", "text": said.text, "annotations": []}
        part = refusal if said.finish == "refusal" else text
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        items.append({**message, "content": [part]})
    for id, name, arguments in said.calls:
        call = {"type": "function_call", "id": f"fc_{id}", "call_id": id, "name": name}
        items.append({**call, "arguments": json.dumps(arguments), "status": "completed"})
    cut = said.finish == "length"
    count = said.tokens
    usage = {
        "input_tokens": count.prompt,
        "input_tokens_details": {"cached_tokens": count.cached, "cache_write_tokens": count.written},
        "output_tokens": count.answer + count.thought,
        "output_tokens_details": {"reasoning_tokens": count.thought},
        "total_tokens": count.prompt + count.answer + count.thought,
    }
    facts = {"id": "resp_1", "object": "response", "created_at": 0, "model": "tiny", "tools": []}
    facts |= {"parallel_tool_calls": True, "tool_choice": "auto"}
    facts |= (
        {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        if cut
        else {"status": "completed"}
    )
    return _plain(openai.Response(**facts, output=items, usage=usage))


def anthropic_reply(said: Said) -> Any:
    blocks: list[Any] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": "sealed"})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    blocks += [
        {"type": "tool_use", "id": id, "name": name, "input": arguments} for id, name, arguments in said.calls
    ]
    words = {"length": "max_tokens", "refusal": "refusal"}
    count = said.tokens
    usage = {
        "input_tokens": count.prompt - count.cached - count.written,
        "cache_read_input_tokens": count.cached,
        "cache_creation_input_tokens": count.written,
        "output_tokens": count.answer + count.thought,
        "output_tokens_details": {"thinking_tokens": count.thought},
    }
    facts = {"id": "msg_1", "type": "message", "role": "assistant", "model": "tiny"}
    word = words.get(said.finish, "tool_use" if said.calls else "end_turn")
    return _plain(anthropic.Message(**facts, content=blocks, stop_reason=word, usage=usage))


def gemini_reply(said: Said) -> Any:
    parts: list[Any] = []
    if said.thought:
        parts.append({"text": said.thought, "thought": True})
    if said.text:
        parts.append({"text": said.text, "thoughtSignature": "c2VhbGVk" if said.thought else None})
    parts += [{"functionCall": {"id": id, "name": name, "args": args}} for id, name, args in said.calls]
    words = {"stop": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}
    count = said.tokens
    usage = {
        "promptTokenCount": count.prompt,
        "cachedContentTokenCount": count.cached,
        "candidatesTokenCount": count.answer,
        "thoughtsTokenCount": count.thought,
        "totalTokenCount": count.prompt + count.answer + count.thought,
    }
    content = {"role": "model", "parts": parts} if parts else None
    candidate = {"content": content, "finishReason": words[said.finish], "index": 0}
    return _plain(
        google.GenerateContentResponse.model_validate(
            {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "tiny", "responseId": "r1"}
        )
    )


def openai_error(status: int, message: str) -> Any:
    return {"error": {"message": message, "type": "error", "code": None, "param": None}}


def anthropic_error(status: int, message: str) -> Any:
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
    kinds |= {429: "rate_limit_error", 529: "overloaded_error"}
    return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}


def gemini_error(status: int, message: str) -> Any:
    names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    return {"error": {"code": status, "message": message, "status": names.get(status, "INTERNAL")}}


OPENAI_MODELS = {
    "object": "list",
    "data": [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in ("tiny", "big")],
}
ANTHROPIC_MODEL = {
    "type": "model",
    "id": "tiny",
    "display_name": "Tiny",
    "created_at": "2026-01-01T00:00:00Z",
    "lifecycle": "active",
    "max_input_tokens": 200_000,
    "max_tokens": 64_000,
}
GEMINI_MODEL = {
    "name": "models/tiny",
    "version": "001",
    "inputTokenLimit": 200_000,
    "outputTokenLimit": 64_000,
    "supportedGenerationMethods": ["generateContent"],
}


@dataclass(frozen=True)
class Dialect:
    """One kind of server: the spec that asks it, the path that answers chats, its pages, its replies.

    ``length`` is the place of the limit of tokens in a request; ``lacks`` what its interface does not have.
    """

    name: str
    spec: str
    path: str
    pages: dict[str, Any]
    reply: Callable[[Said], Any]
    error: Callable[[int, str], Any]
    length: tuple[str, ...]
    lacks: frozenset[str] = field(default_factory=frozenset)


_ONLY_CHATS = frozenset({"logprobs", "regex", "prompt"})
DIALECTS = [
    Dialect(
        "openai",
        "openai:tiny@{url}",
        "/v1/chat/completions",
        {"/v1/models": OPENAI_MODELS},
        chat_reply,
        openai_error,
        ("max_tokens",),
    ),
    Dialect(
        "sglang",
        "sglang:tiny@{url}",
        "/v1/chat/completions",
        {"/v1/models": OPENAI_MODELS},
        chat_reply,
        openai_error,
        ("max_tokens",),
    ),
    Dialect(
        "responses",
        "openai:tiny@{url}?api=responses",
        "/v1/responses",
        {"/v1/models": OPENAI_MODELS},
        responses_reply,
        openai_error,
        ("max_output_tokens",),
        _ONLY_CHATS,
    ),
    Dialect(
        "anthropic",
        "anthropic:tiny@{url}",
        "/v1/messages",
        {
            "/v1/models": {"data": [ANTHROPIC_MODEL], "has_more": False},
            "/v1/models/tiny": ANTHROPIC_MODEL,
        },
        anthropic_reply,
        anthropic_error,
        ("max_tokens",),
        _ONLY_CHATS,
    ),
    Dialect(
        "gemini",
        "gemini:tiny@{url}",
        "/v1/models/tiny:generateContent",
        {"/v1/models": {"models": [GEMINI_MODEL]}, "/v1/models/tiny": GEMINI_MODEL},
        gemini_reply,
        gemini_error,
        ("generationConfig", "maxOutputTokens"),
        _ONLY_CHATS | {"cache_write"},
    ),
]
