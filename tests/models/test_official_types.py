"""The vendors' official SDKs as witnesses: they know our requests, and what they can reply is read whole.

No vendor can be reached from a test. The types of their SDKs say what they take and what they answer.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, NamedTuple

import anthropic.types
import httpx2
import openai.types.responses
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from google import genai
from google.genai import types as google
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

from evalkit.errors import UsageError
from evalkit.models import anthropic as messages
from evalkit.models import gemini, load
from evalkit.models.openai import responses
from evalkit.models.reasoning import EFFORTS, Reasoning
from evalkit.types import Message, Request
from tests.models.official import conforms
from tests.models.strategies import requests

KEY = "key-of-a-test"
ASK = Request(messages=(Message("user", "Why?"),))
reasonings = st.builds(Reasoning, st.none() | st.sampled_from(EFFORTS), st.none() | st.integers(1024, 30_000))


class Sent(NamedTuple):
    """A request as a server sees it."""

    url: str
    headers: Any
    body: Any


class Wire:
    """A transport of the SDKs that keeps what they send, and gives one reply to all."""

    def __init__(self, reply: dict[str, Any]) -> None:
        self.sent: list[Sent] = []
        self.client = httpx2.Client(transport=httpx2.MockTransport(self._answer))
        self._reply = reply

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(Sent(str(request.url), request.headers, json.loads(request.content)))
        return httpx2.Response(200, json=self._reply)


WIRE = Wire({"content": [], "candidates": [], "output": []})
GOOGLE = genai.Client(api_key=KEY, http_options=google.HttpOptions(httpx_client=WIRE.client))


def thinking(plan_of: Any, reasoning: Reasoning) -> Any:
    """Return how a model is to think; for what the vendor does not have, nothing set."""
    try:
        return plan_of(reasoning)
    except UsageError:
        return plan_of(Reasoning())


@settings(max_examples=60, deadline=None)
@given(requests(), reasonings)
def test_anthropic_knows_every_request(request_, reasoning):
    body = messages.payload(request_, "claude", thinking(messages.thinking_of, reasoning))
    assert conforms(body, MessageCreateParamsNonStreaming) == []
    assert body["messages"][0]["role"] == "user"
    roles = [message["role"] for message in body["messages"]]
    assert all(one != other for one, other in pairwise(roles))
    budget = body.get("thinking", {}).get("budget_tokens")
    assert budget is None or 1024 <= budget < body["max_tokens"]


@settings(max_examples=60, deadline=None)
@given(requests(), reasonings)
def test_openai_knows_every_request(request_, reasoning):
    body = responses.payload(request_, "gpt", thinking(responses.thinking_of, reasoning))
    assert conforms(body, ResponseCreateParamsNonStreaming) == []


@settings(max_examples=30, deadline=None)
@given(requests(), reasonings)
def test_google_sends_the_same_request(request_, reasoning):
    body = gemini.payload(request_, thinking(gemini.thinking_of, reasoning))
    top = {name: body[name] for name in ("systemInstruction", "tools", "toolConfig") if name in body}
    config = {**top, **body["generationConfig"]}
    GOOGLE.models.generate_content(
        model="m",
        contents=[google.Content.model_validate_json(json.dumps(turn)) for turn in body["contents"]],
        config=google.GenerateContentConfig.model_validate_json(json.dumps(config)),
    )
    sent = WIRE.sent.pop().body
    sent.get("systemInstruction", {}).pop("role", None)  # the SDK calls the system a user
    assert camel(sent) == camel(body)


def camel(value: Any) -> Any:
    """Return JSON with one spelling of what Google's APIs read in two: names, and bytes in base64."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(data := value.get("data"), str):
        value = {**value, "data": data.replace("-", "+").replace("_", "/")}
    return {re.sub("_([a-z])", lambda m: m[1].upper(), name): camel(item) for name, item in value.items()}


def test_a_request_that_a_vendor_does_not_know_is_noticed():
    body = messages.payload(ASK, "claude")
    for wrong in ({"temperature": 0.0}, {"messages": [{"role": "user", "content": [{"type": "txt"}]}]}):
        assert conforms({**body, **wrong}, MessageCreateParamsNonStreaming)
    assert conforms({"messages": []}, MessageCreateParamsNonStreaming)
    body = responses.payload(ASK, "gpt")
    assert conforms({**body, "stop": ["a"]}, ResponseCreateParamsNonStreaming)
    assert conforms({**body, "include": ["everything"]}, ResponseCreateParamsNonStreaming)


@pytest.fixture
def keys(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)


def test_addresses_and_headers_are_those_of_the_sdks(keys):
    anthropic.Anthropic(api_key=KEY, http_client=WIRE.client).messages.create(
        model="m", max_tokens=1, messages=[{"role": "user", "content": "x"}]
    )
    openai.OpenAI(api_key=KEY, http_client=WIRE.client).responses.create(model="m", input="x")
    GOOGLE.models.generate_content(model="m", contents="x")
    for spec, sent in zip(("anthropic:m", "openai:m?api=responses", "gemini:m"), WIRE.sent, strict=True):
        backend = load(spec)
        assert backend.target(backend.endpoints.urls[0]) == sent.url
        for name, value in backend.headers(KEY).items():
            assert sent.headers[name] == value
