"""How a reply ended: whole, cut, withheld, given up half-way, or in words that nobody knows."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from evalkit.errors import ModelError, RequestRejected, ServerFailed
from evalkit.model import Model
from evalkit.models import load
from evalkit.models.openai.endings import finish_reason
from evalkit.status import classify_answer
from evalkit.types import Answer, Message, Request, Status

ASK = Request(messages=(Message("user", "What is 2+2?"),), max_tokens=8)


def ends(reason, *, message=None, **choice):
    choice = {"index": 0, "message": message or {"content": "4"}, "finish_reason": reason, **choice}

    async def handler(request, _):
        return web.json_response({"model": "tiny", "choices": [choice], "usage": {"completion_tokens": 3}})

    return handler


def refuses(status, error):
    async def handler(request, _):
        return web.json_response({"error": error}, status=status)

    return handler


def events(*documents):
    async def handler(request, _):
        lines = "".join(f"data: {json.dumps(document)}\n\n" for document in documents)
        return web.Response(text=lines + "data: [DONE]\n\n", content_type="text/event-stream")

    return handler


async def ask(script, handler, params=""):
    script.chat(handler)
    backend = load(f"openai:tiny@{script.url}{params}")
    try:
        return await Model(backend).generate("What is 2+2?", max_tokens=8, stop=["\n\n"])
    finally:
        await backend.close()


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("stop end_turn stop_sequence eos eos_token STOP COMPLETE tool_calls tool_use function_call", "stop"),
        ("endTurn normal success stopSequence toolUse StopReason.endTurn", "stop"),
        ("maxTokens time_limit not_finished maximum_tokens", "length"),
        ("contentFilter guardrailIntervened unsafe blocked_by_safety", "refusal"),
        ("user_cancelled load_shedding rate-limit serverError", "abort"),
        ("MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL malformed_model_output malformedToolUse", "other"),
        (
            "length max_tokens MAX_TOKENS max_output_tokens model_length model_context_window_exceeded "
            "ERROR_LIMIT FINISH_REASON_MAX_TOKENS FinishReason.MAX_TOKENS max-tokens",
            "length",
        ),
        (
            "content_filter refusal SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII sensitive "
            "IMAGE_SAFETY content_filtered guardrail_intervened ERROR_TOXIC",
            "refusal",
        ),
        (
            "error network_error insufficient_system_resource abort failed cancelled OTHER timeout "
            "pause_turn",
            "abort",
        ),
        ("perhaps 7 stopped-by-moon", "other"),
    ],
)
def test_every_vendors_word_means_one_of_five_things(words, ours):
    assert {word: finish_reason(word) for word in words.split()} == dict.fromkeys(words.split(), ours)


def test_a_reason_in_another_shape():
    assert finish_reason({"type": "length"}) == "length"
    assert finish_reason(None) == finish_reason("") == finish_reason({}) == "stop"  # nothing was said
    assert finish_reason(3) == finish_reason(["stop"]) == finish_reason({"type": 1}) == "other"


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource", "network_error"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_given_up_half_way_is_a_failure_of_the_server(script, reason, streamed):
    part = {"choices": [{"index": 0, "delta": {"content": "4"}, "finish_reason": reason}]}
    handler = events(part) if streamed else ends(reason)
    with pytest.raises(ServerFailed, match=f"half-way.*{reason}"):
        await ask(script, handler, f"?stream={streamed}")


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_beside_the_choice_is_one_whatever_the_reason_says(script, streamed):
    error = {"code": 502, "message": "upstream disconnected"}
    part = {"choices": [{"index": 0, "delta": {"content": "4"}, "finish_reason": "stop", "error": error}]}
    handler = events(part) if streamed else ends("stop", error=error)
    with pytest.raises(ServerFailed, match="upstream disconnected"):
        await ask(script, handler, f"?stream={streamed}")


async def test_an_event_called_error_is_an_error(script):
    async def handler(request, _):
        begin = 'data: {"choices": [{"delta": {"content": "4"}}]}\n\n'
        end = 'event: error\ndata: {"message": "overloaded upstream"}\n\ndata: [DONE]\n\n'
        return web.Response(text=begin + end, content_type="text/event-stream")

    with pytest.raises(ServerFailed, match="overloaded upstream"):
        await ask(script, handler, "?stream=true")


async def test_an_unknown_reason_is_noted_and_earns_nothing(script):
    response = await ask(script, ends("perhaps"))
    assert (response.text, response.finish_reason) == ("4", "other")
    assert response.notes == ("finish_reason 'perhaps' is not known: not credited",)
    assert classify_answer(Answer(response)) is Status.TRUNCATED


async def test_a_missing_reason_is_a_stop_unless_the_reply_is_as_long_as_allowed(script):
    assert (await ask(script, ends(None))).finish_reason == "stop"
    script.chat(ends(None))
    backend = load(f"openai:tiny@{script.url}")
    assert (await Model(backend).generate("2+2?", max_tokens=3)).finish_reason == "length"
    await backend.close()


async def test_a_refusal_in_its_own_field(script):
    response = await ask(script, ends("stop", message={"content": None, "refusal": "I will not."}))
    assert (response.finish_reason, response.text) == ("refusal", "I will not.")


WITHHELD = {
    "Azure": (
        400,
        {
            "message": "The response was filtered due to the prompt triggering a content management policy.",
            "code": "content_filter",
            "innererror": {"code": "ResponsibleAIPolicyViolation"},
        },
    ),
    "OpenAI": (
        400,
        {
            "message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            "code": "invalid_prompt",
        },
    ),
    "OpenRouter": (403, {"message": "openai/o1 requires moderation. Your input was flagged", "code": 403}),
    "Alibaba": (
        400,
        {"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"},
    ),
    "in a reply of status 200": (200, {"message": "filtered", "code": "content_filter"}),
    "DeepSeek": (400, {"message": "Content Exists Risk", "type": "invalid_request_error"}),
}


@pytest.mark.parametrize(("status", "error"), WITHHELD.values(), ids=list(WITHHELD))
@pytest.mark.parametrize("params", ["", "?stream=true"])
async def test_a_prompt_that_a_vendors_filter_refuses_is_a_refusal(script, status, error, params):
    response = await ask(script, refuses(status, error), params)
    assert (response.text, response.finish_reason) == ("", "refusal")
    assert response.notes == ("the server's content filter refused the request",)


async def test_other_refused_requests_stay_errors(script):
    with pytest.raises(RequestRejected, match="context length"):
        await ask(script, refuses(400, {"message": "maximum context length is 2048 tokens"}))
    with pytest.raises(ModelError, match="content_filter"):
        await ask(script, refuses(500, {"message": "content_filter crashed"}))


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_a_server_that_ignores_stop_is_cut_and_noted(script, reason):
    response = await ask(script, ends(reason, message={"content": "4\n\nQuestion: next?"}))
    assert (response.text, response.finish_reason) == ("4", "stop")
    assert response.notes == ("the server ignored the stop string '\\n\\n': cut there",)


async def test_a_stop_string_at_the_end_is_removed_and_one_in_the_reasoning_is_none(script):
    response = await ask(script, ends("stop", message={"content": "4\n\n"}))
    assert (response.text, response.notes) == ("4", ())
    response = await ask(script, ends("stop", message={"content": "<think>2\n\n2</think>\n\n4"}))
    assert (response.text, response.reasoning, response.notes) == ("4", "2\n\n2", ())


async def test_a_task_may_ask_for_the_stop_string_itself(script):
    script.chat(ends("stop", message={"content": "4\n\n"}))
    backend = load(f"openai:tiny@{script.url}")
    model = Model(backend)
    kept = await model.generate("2+2?", stop="\n\n", include_stop_str_in_output=True)
    await backend.close()
    assert kept.text == "4\n\n"


@pytest.mark.parametrize("content", [5, True, {"text": "4"}])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_content_that_is_no_text_is_a_failure_and_not_an_empty_answer(script, content, streamed):
    part = {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": "stop"}]}
    handler = events(part) if streamed else ends("stop", message={"content": content})
    with pytest.raises(ServerFailed, match="content that is no text"):
        await ask(script, handler, "?stream=true" if streamed else "")


async def test_an_empty_body_is_called_so(script):
    async def handler(request, _):
        return web.Response(text="")

    with pytest.raises(ServerFailed, match="answered with an empty body"):
        await ask(script, handler)


async def test_the_first_choice_is_the_one_with_index_0(script):
    async def handler(request, _):
        said = [{"index": n, "message": {"content": str(n)}, "finish_reason": "stop"} for n in (1, 0)]
        return web.json_response({"model": "tiny", "choices": said})

    assert (await ask(script, handler)).text == "0"


# --- What the model wrote, and the server could not read ---


async def test_a_reply_that_the_server_could_not_read_is_the_models_fault(script):
    response = await ask(script, ends("MALFORMED_FUNCTION_CALL"))
    assert response.finish_reason == "other"
    assert response.notes == (
        "finish_reason 'MALFORMED_FUNCTION_CALL': the server could not read what the model wrote",
    )


@pytest.mark.parametrize("code", ["tool_use_failed", "json_validate_failed"])
async def test_an_error_about_what_the_model_wrote_is_no_error_of_the_sample(script, code):
    async def handler(request, _):
        error = {"message": "Failed to call a function.", "type": "invalid_request_error", "code": code}
        return web.json_response({"error": error}, status=400)

    response = await ask(script, handler)
    assert (response.text, response.finish_reason) == ("", "other")
    assert response.notes == (f"the server could not read what the model wrote ({code})",)
