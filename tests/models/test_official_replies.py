"""Replies built from the types of the vendors' official SDKs are read whole, and go back unchanged."""

from __future__ import annotations

import json
from typing import Any, get_args

import anthropic.types as anthropic
import openai.types.responses as openai
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google.genai import types as google
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.responses.response_status import ResponseStatus

from evalkit.errors import ServerFailed
from evalkit.models import anthropic as messages
from evalkit.models import gemini
from evalkit.models.openai import responses
from evalkit.types import Message, Request, Response, ToolCall
from tests.models.official import conforms
from tests.models.strategies import NOW, SEARCH, arguments, plain_text

ASK = Request(messages=(Message("user", "Why?"),), tools=(SEARCH, NOW))
counts = st.integers(0, 10**6)
signatures = st.text("abcdefghABCDEFGH", min_size=4, max_size=8).map(lambda t: t[: len(t) // 4 * 4])
names = st.sampled_from(["search", "now"])
SETTINGS = settings(max_examples=60, deadline=None)


def again(response: Response) -> Request:
    """Return the request of the next turn: what the model said goes back, with the results of its calls."""
    spoken = Message("assistant", response.text, response.tool_calls, native=response.native)
    results = [Message("tool", "found", tool_call_id=call.id) for call in response.tool_calls]
    after = results or [Message("user", "Go on.")]
    return Request(messages=(*ASK.messages, spoken, *after), tools=ASK.tools)


# --- Anthropic ---

anthropic_usage = st.builds(
    anthropic.Usage,
    input_tokens=counts,
    output_tokens=st.integers(1000, 10**6),
    cache_read_input_tokens=st.none() | counts,
    cache_creation_input_tokens=st.none() | counts,
    output_tokens_details=st.none()
    | st.builds(anthropic.OutputTokensDetails, thinking_tokens=st.integers(0, 1000)),
)
anthropic_blocks = st.lists(
    st.builds(anthropic.TextBlock, type=st.just("text"), text=plain_text, citations=st.none())
    | st.builds(anthropic.ThinkingBlock, type=st.just("thinking"), thinking=plain_text, signature=signatures)
    | st.builds(anthropic.RedactedThinkingBlock, type=st.just("redacted_thinking"), data=signatures)
    | st.builds(
        anthropic.ToolUseBlock,
        type=st.just("tool_use"),
        id=st.uuids().map(str),
        name=names,
        input=arguments,
        caller=st.none(),
        toolset_name=st.none(),
    ),
    min_size=1,
    max_size=5,
)


def anthropic_reply(content: list[Any], usage: Any = None, **fields: Any) -> dict[str, Any]:
    """Return a reply as Anthropic's server writes it: an empty field of the SDK's type is left out."""
    usage = usage or anthropic.Usage(input_tokens=1, output_tokens=1)
    reply = anthropic.Message(
        id="msg_1", type="message", role="assistant", model="claude", content=content, usage=usage, **fields
    )
    return json.loads(reply.model_dump_json(exclude_none=True))


@SETTINGS
@given(anthropic_blocks, anthropic_usage)
def test_a_message_of_anthropic_is_read_whole(blocks, usage):
    reply = anthropic_reply(blocks, usage, stop_reason="end_turn")
    response = messages.read(reply, ASK, "claude")

    def all_of(kind: type) -> list[Any]:
        return [block for block in blocks if isinstance(block, kind)]

    assert response.text == "".join(block.text for block in all_of(anthropic.TextBlock))
    assert response.reasoning == "".join(block.thinking for block in all_of(anthropic.ThinkingBlock))
    calls = all_of(anthropic.ToolUseBlock)
    assert response.tool_calls == tuple(ToolCall(c.id, c.name, c.input) for c in calls)
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    assert response.usage.prompt_tokens == usage.input_tokens + cached + written
    assert (response.usage.cached_tokens, response.usage.cache_write_tokens) == (cached, written)
    assert response.usage.completion_tokens == usage.output_tokens
    details = usage.output_tokens_details
    assert response.usage.reasoning_tokens == (details.thinking_tokens if details else 0)
    body = messages.payload(again(response), "claude")
    assert conforms(body, MessageCreateParamsNonStreaming) == []
    if response.native:
        assert body["messages"][1] == {"role": "assistant", "content": reply["content"]}


@pytest.mark.parametrize("word", get_args(anthropic.StopReason))
def test_every_stop_reason_of_anthropic_is_known(word):
    reply = anthropic_reply([anthropic.TextBlock(type="text", text="So")], stop_reason=word)
    if word == "pause_turn":  # only a server's own tools pause
        with pytest.raises(ServerFailed, match="pause_turn"):
            messages.read(reply, ASK, "claude")
        return
    expected = {"max_tokens": "length", "model_context_window_exceeded": "length", "refusal": "refusal"}
    response = messages.read(reply, ASK, "claude")
    assert (response.finish_reason, response.text) == (expected.get(word, "stop"), "So")


def test_a_refusal_of_anthropic_says_why():
    details = anthropic.RefusalStopDetails(type="refusal", category="bio", explanation="Dangerous.")
    response = messages.read(anthropic_reply([], stop_reason="refusal", stop_details=details), ASK, "claude")
    assert (response.finish_reason, response.text) == ("refusal", "Dangerous.")
    assert response.notes == ("refused by Anthropic: bio",)


def test_a_message_of_anthropic_without_content_is_empty():
    response = messages.read(anthropic_reply([], stop_reason="end_turn"), ASK, "claude")
    assert (response.text, response.finish_reason, response.native) == ("", "stop", None)


# --- OpenAI ---

openai_usage = st.builds(
    openai.ResponseUsage,
    input_tokens=counts,
    output_tokens=counts,
    total_tokens=counts,
    input_tokens_details=st.builds(
        openai.response_usage.InputTokensDetails, cached_tokens=counts, cache_write_tokens=counts
    ),
    output_tokens_details=st.builds(openai.response_usage.OutputTokensDetails, reasoning_tokens=counts),
)
summaries = st.lists(
    st.builds(openai.response_reasoning_item.Summary, type=st.just("summary_text"), text=plain_text),
    max_size=2,
)
openai_items = st.lists(
    st.builds(
        openai.ResponseReasoningItem,
        type=st.just("reasoning"),
        id=st.uuids().map(lambda u: f"rs_{u}"),
        summary=summaries,
        content=st.none(),
        encrypted_content=st.none() | signatures,
        status=st.none(),
    )
    | st.builds(
        openai.ResponseOutputMessage,
        type=st.just("message"),
        id=st.uuids().map(lambda u: f"msg_{u}"),
        role=st.just("assistant"),
        status=st.just("completed"),
        phase=st.none() | st.sampled_from(["commentary", "final_answer"]),
        content=st.lists(
            st.builds(
                openai.ResponseOutputText,
                type=st.just("output_text"),
                text=plain_text,
                annotations=st.just([]),
                logprobs=st.none(),
            ),
            min_size=1,
            max_size=2,
        ),
    )
    | st.builds(
        openai.ResponseFunctionToolCall,
        type=st.just("function_call"),
        id=st.uuids().map(lambda u: f"fc_{u}"),
        call_id=st.uuids().map(str),
        name=names,
        arguments=arguments.map(json.dumps),
        caller=st.none(),
        namespace=st.none(),
        status=st.just("completed"),
    ),
    min_size=1,
    max_size=5,
)


def openai_response(output: list[Any], usage: Any = None, **fields: Any) -> openai.Response:
    facts = {"id": "resp_1", "object": "response", "created_at": 0, "model": "gpt", "status": "completed"}
    facts |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return openai.Response(**{**facts, **fields}, output=output, usage=usage)


def openai_reply(*args: Any, **fields: Any) -> dict[str, Any]:
    return json.loads(openai_response(*args, **fields).model_dump_json(exclude_none=True))


@SETTINGS
@given(openai_items, openai_usage)
def test_a_response_of_openai_is_read_whole(items, usage):
    reply = openai_reply(items, usage)
    response = responses.read(reply, ASK, "gpt")
    final = [item for item in items if item.type == "message" and item.phase == "final_answer"]
    comments = [item for item in items if final and item.type == "message" and item not in final]
    assert response.text == openai_response(final or items).output_text
    thoughts = [
        part.text
        for item in items
        for part in (item.summary if item.type == "reasoning" else item.content if item in comments else ())
    ]
    assert "".join(response.reasoning.split()) == "".join("".join(thoughts).split())
    calls = [item for item in items if item.type == "function_call"]
    assert response.tool_calls == tuple(ToolCall(c.call_id, c.name, json.loads(c.arguments)) for c in calls)
    ours = response.usage
    assert (ours.prompt_tokens, ours.completion_tokens) == (usage.input_tokens, usage.output_tokens)
    details = usage.input_tokens_details
    assert (ours.cached_tokens, ours.cache_write_tokens) == (
        details.cached_tokens,
        details.cache_write_tokens,
    )
    assert ours.reasoning_tokens == usage.output_tokens_details.reasoning_tokens
    body = responses.payload(again(response), "gpt")
    assert conforms(body, ResponseCreateParamsNonStreaming) == []
    if response.native:
        assert body["input"][1 : 1 + len(items)] == reply["output"]


ENDINGS = {
    "completed": "stop",
    "max_output_tokens": "length",
    "max_messages": "other",
    "content_filter": "refusal",
    "steered": "other",
}


def test_the_endings_are_all_that_openai_has():
    hint = openai.response.IncompleteDetails.model_fields["reason"].annotation
    assert set(get_args(get_args(hint)[0])) == ENDINGS.keys() - {"completed"}


@pytest.mark.parametrize("word", sorted(ENDINGS.keys() - {"completed"}))
def test_what_makes_a_response_incomplete_is_known(word):
    details = openai.response.IncompleteDetails(reason=word)
    response = responses.read(openai_reply([], status="incomplete", incomplete_details=details), ASK, "gpt")
    assert response.finish_reason == ENDINGS[word]


@pytest.mark.parametrize("word", get_args(ResponseStatus))
def test_every_status_of_a_response_is_known(word):
    if word in ("failed", "cancelled"):
        with pytest.raises(ServerFailed, match=word):
            responses.read(openai_reply([], status=word), ASK, "gpt")
    else:
        response = responses.read(openai_reply([], status=word), ASK, "gpt")
        assert (response.finish_reason == "stop") == (word == "completed")


def openai_message(text: str, phase: Any = None) -> openai.ResponseOutputMessage:
    part = openai.ResponseOutputText(type="output_text", text=text, annotations=[])
    return openai.ResponseOutputMessage(
        type="message", id="msg_1", role="assistant", status="completed", content=[part], phase=phase
    )


def test_comments_on_the_way_are_no_part_of_the_final_answer_and_go_back_as_they_were():
    items = [openai_message("I look it up.", "commentary"), openai_message("81 mg.", "final_answer")]
    response = responses.read(openai_reply(items), ASK, "gpt")
    assert (response.text, response.reasoning) == ("81 mg.", "I look it up.")
    body = responses.payload(again(response), "gpt")
    assert [item.get("phase") for item in body["input"]][1:3] == ["commentary", "final_answer"]
    alone = responses.read(openai_reply(items[:1]), ASK, "gpt")
    assert (alone.text, alone.reasoning) == ("I look it up.", "")
    assert responses.payload(again(alone), "gpt")["input"][1]["phase"] == "commentary"


def test_reasoning_that_nothing_follows_does_not_go_back():
    thought = openai.ResponseReasoningItem(type="reasoning", id="rs_1", summary=[], encrypted_content="x")
    response = responses.read(openai_reply([thought]), ASK, "gpt")
    body = responses.payload(again(response), "gpt")
    assert body["input"][1] == {"role": "assistant", "content": ""}


def test_a_refusal_of_openai_is_one():
    refusal = openai.ResponseOutputRefusal(type="refusal", refusal="I will not.")
    message = openai.ResponseOutputMessage(
        type="message", id="msg_1", role="assistant", status="completed", content=[refusal]
    )
    response = responses.read(openai_reply([message]), ASK, "gpt")
    assert (response.finish_reason, response.text) == ("refusal", "I will not.")


# --- Google ---

google_parts = st.lists(
    st.builds(google.Part, text=plain_text, thought=st.none() | st.just(True))
    | st.builds(google.Part, text=plain_text, thought_signature=signatures.map(str.encode))
    | st.builds(
        google.Part,
        function_call=st.builds(
            google.FunctionCall, id=st.none() | st.uuids().map(str), name=names, args=arguments
        ),
    ),
    min_size=1,
    max_size=5,
)
google_usage = st.builds(
    google.GenerateContentResponseUsageMetadata,
    prompt_token_count=counts,
    candidates_token_count=st.none() | counts,
    thoughts_token_count=st.none() | counts,
    cached_content_token_count=st.none() | counts,
)


def google_reply(parts: list[Any] | None, **fields: Any) -> dict[str, Any]:
    content = google.Content(role="model", parts=parts) if parts is not None else None
    candidate = google.Candidate(content=content, finish_reason=fields.pop("finish_reason", "STOP"))
    return google_json(google.GenerateContentResponse(candidates=[candidate], **fields))


def google_json(reply: google.GenerateContentResponse) -> dict[str, Any]:
    return json.loads(reply.model_dump_json(by_alias=True, exclude_none=True))


@SETTINGS
@given(google_parts, google_usage)
def test_a_reply_of_gemini_is_read_whole(parts, usage):
    reply = google_reply(parts, usage_metadata=usage, response_id="r1", model_version="gemini-3")
    response = gemini.read(reply, ASK, "gemini-3")
    theirs = google.GenerateContentResponse.model_validate(reply)
    assert response.text == "".join(p.text for p in parts if p.text and not p.thought)
    assert response.reasoning == "".join(p.text for p in parts if p.text and p.thought)
    calls = theirs.function_calls or []
    assert [(c.name, c.arguments) for c in response.tool_calls] == [(c.name, c.args or {}) for c in calls]
    assert all(not c.id or c.id == ours.id for c, ours in zip(calls, response.tool_calls, strict=True))
    assert len({call.id for call in response.tool_calls}) == len(calls)
    assert response.usage.prompt_tokens == usage.prompt_token_count
    thought = usage.thoughts_token_count or 0
    assert response.usage.completion_tokens == (usage.candidates_token_count or 0) + thought
    assert response.usage.reasoning_tokens == thought
    assert response.usage.cached_tokens == (usage.cached_content_token_count or 0)
    body = gemini.payload(again(response))
    for turn in body["contents"]:
        google.Content.model_validate_json(json.dumps(turn))
    if response.native:
        assert body["contents"][1]["parts"] == reply["candidates"][0]["content"]["parts"]
    after = body["contents"][2]["parts"]
    results = [part["functionResponse"] for part in after if "functionResponse" in part]
    assert [(r.get("id"), r["name"]) for r in results] == [(c.id, c.name) for c in calls]


@pytest.mark.parametrize("word", [word.value for word in google.FinishReason])
def test_every_finish_reason_of_gemini_is_read(word):
    reply = google_reply([google.Part(text="So")], finish_reason=word)
    try:
        finish = gemini.read(reply, ASK, "gemini").finish_reason
    except ServerFailed:
        finish = "abort"
    expected = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length", "ESCALATION": "refusal"}
    unreadable = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS")
    assert finish == expected.get(word, finish)
    assert (finish == "stop") == (word == "STOP")
    assert (finish == "other") == (word in (*unreadable, "MALFORMED_RESPONSE", "FINISH_REASON_UNSPECIFIED"))


def test_what_gemini_could_not_read_is_shown_and_no_failure_of_the_server():
    said = "Malformed function call: print(default_api.search(query="
    reply = google_reply(None, finish_reason="MALFORMED_FUNCTION_CALL")
    reply["candidates"][0]["finishMessage"] = said
    response = gemini.read(reply, ASK, "gemini")
    assert (response.text, response.finish_reason) == (said, "other")
    assert "could not read what the model wrote" in response.notes[0]


@pytest.mark.parametrize("word", [word.value for word in google.BlockedReason])
def test_a_blocked_prompt_is_a_refusal(word):
    feedback = google.GenerateContentResponsePromptFeedback(block_reason=word)
    reply = google_json(google.GenerateContentResponse(prompt_feedback=feedback))
    response = gemini.read(reply, ASK, "gemini")
    assert (response.finish_reason, response.text) == ("refusal", "")
    assert word in response.notes[0]


def test_a_reply_of_gemini_without_content_is_empty_and_without_candidates_a_failure():
    assert gemini.read(google_reply(None), ASK, "gemini").text == ""
    with pytest.raises(ServerFailed, match="no candidates"):
        gemini.read(google_json(google.GenerateContentResponse()), ASK, "gemini")
