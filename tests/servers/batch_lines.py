"""The lines of a batch's results, built from the types of the vendors' official SDKs."""

from __future__ import annotations

from typing import Any

# "ok" and the reply's text; "error" and its status, or OpenAI's code of a 400; "expired"; "canceled"
Outcome = tuple[str, Any]


def anthropic_message(text: str) -> Any:
    """Return a message, as Anthropic's SDK types it."""
    from anthropic.types import Message

    return Message(
        id="m",
        type="message",
        role="assistant",
        model="tiny",
        content=[{"type": "text", "text": text}],
        stop_reason="end_turn",
        usage={"input_tokens": 7, "output_tokens": 2},
    )


def anthropic_line(key: str, outcome: Outcome) -> dict[str, Any]:
    """Return a line of the results."""
    from anthropic.types.messages import MessageBatchIndividualResponse

    kind, value = outcome
    result: dict[str, Any] = {"type": kind}
    if kind == "ok":
        result = {"type": "succeeded", "message": anthropic_message(value)}
    elif kind == "error":
        word = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error"}[value]
        error = {"type": word, "message": f"failed with {value}"}
        result = {"type": "errored", "error": {"type": "error", "error": error}}
    return MessageBatchIndividualResponse(custom_id=key, result=result).model_dump(mode="json")


def gemini_reply(text: str) -> dict[str, Any]:
    """Return a reply of ``generateContent``, as Google's SDK types it."""
    from google.genai.types import GenerateContentResponse

    content = {"role": "model", "parts": [{"text": text}]}
    reply = GenerateContentResponse.model_validate(
        {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2, "totalTokenCount": 9},
            "modelVersion": "tiny",
        }
    )
    return reply.model_dump(mode="json", by_alias=True, exclude_none=True)


def gemini_line(key: str, outcome: Outcome) -> dict[str, Any]:
    """Return a line of the file of replies."""
    kind, value = outcome
    if kind == "ok":
        return {"key": key, "response": gemini_reply(value)}
    code = {"expired": 4, "canceled": 1, 400: 3, 429: 8, 500: 13}[value or kind]
    return {"key": key, "error": {"code": code, "message": f"failed: {value or kind}"}}


def chat_completion(text: str) -> dict[str, Any]:
    """Return a chat completion, as OpenAI's SDK types it."""
    from openai.types.chat import ChatCompletion

    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    completion = ChatCompletion(
        id="1", object="chat.completion", created=0, model="tiny", choices=[choice], usage=usage
    )
    return completion.model_dump(mode="json")


def response(text: str) -> dict[str, Any]:
    """Return a reply of the Responses interface, as OpenAI's SDK types it."""
    from openai.types.responses import Response

    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": content}
    reply = Response(
        id="r",
        object="response",
        created_at=0,
        model="tiny",
        output=[message],
        parallel_tool_calls=True,
        tool_choice="auto",
        tools=[],
        status="completed",
        usage={
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 9,
        },
    )
    return reply.model_dump(mode="json")


def openai_line(key: str, outcome: Outcome, endpoint: str) -> dict[str, Any]:
    """Return a line of the output file or the error file."""
    kind, value = outcome
    line: dict[str, Any] = {"id": f"batch_req_{key[:8]}", "custom_id": key, "response": None, "error": None}
    if kind == "ok":
        body = chat_completion(value) if endpoint.endswith("completions") else response(value)
        line["response"] = {"status_code": 200, "request_id": "r", "body": body}
    elif kind == "error":
        status, code = (400, value) if isinstance(value, str) else (value, None)
        error = {"message": f"failed with {value}", "type": "error", "code": code}
        line["response"] = {"status_code": status, "request_id": "r", "body": {"error": error}}
    elif kind == "expired":
        line["error"] = {"code": "batch_expired", "message": "This request could not be executed in time."}
    else:
        line["error"] = {"code": "batch_cancelled", "message": "This request was cancelled."}
    return line
