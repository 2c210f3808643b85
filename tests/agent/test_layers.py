"""Every call of a conversation passes the layers around a model: cache, single flight, masking, retries."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from evalkit import Image, Message, Model, ToolCall, converse, tool
from evalkit.errors import ServerFailed
from evalkit.media.pixels import plain_png
from evalkit.media.ready import ready_messages
from evalkit.models import wrap
from evalkit.models.fake import FakeBackend
from evalkit.models.middleware.masked import Masked
from evalkit.models.middleware.response_cache import ResponseCache, request_key
from evalkit.models.middleware.weights_check import agree
from evalkit.protocols import BackendTraits
from evalkit.types import MediaSupport, Request, Response, Text, Tool
from evalkit.util.masking import remember

ran: list[str] = []


@tool
def look(word: str) -> str:
    """Look a word up."""
    ran.append(word)
    return f"{word}: a drug"


def policy(request: Request) -> Response:
    """Look up twice, then answer."""
    turns = sum(message.role == "assistant" for message in request.messages)
    if turns == 2:
        return Response(text="Both are drugs.")
    call = ToolCall.of("look", word=("aspirin", "insulin")[turns])
    return Response(text="", tool_calls=(call,), native={"role": "assistant", "signed": turns})


async def talk(model: Model) -> list[str]:
    conversation = await converse(model, "Are they drugs?", tools=[look], temperature=0.7)
    return [message.text for message in conversation.messages]


async def test_a_conversation_that_is_repeated_pays_for_no_reply_again(tmp_path: Path) -> None:
    """As a resumed sample does: its tools run again, its replies come from the cache."""
    first, again = FakeBackend(policy), FakeBackend(policy)
    cache = ResponseCache(tmp_path / "responses.db")
    told = await talk(Model(wrap(first, cache=cache, identity={"model": "m"})))
    assert len(first.requests) == 3
    cache.close()
    ran.clear()
    cache = ResponseCache(tmp_path / "responses.db")
    model = Model(wrap(again, cache=cache, identity={"model": "m"}, mode="only"))
    assert await talk(model) == told
    cache.close()
    assert again.requests == []
    assert [call.response.from_cache for call in model.calls] == [True] * 3
    assert ran == ["aspirin", "insulin"]


async def test_what_changes_the_reply_changes_the_key() -> None:
    def key(**fields) -> bytes:
        return request_key({"model": "m"}, Request(messages=(Message("user", "?"),), **fields))

    schema = {"type": "object", "properties": {"word": {"type": "string"}}}
    tools = (Tool("look", "Look.", schema),)
    keys = {
        key(),
        key(tools=tools),
        key(tools=tools, tool_choice="required"),
        key(tools=(Tool("look", "Look it up.", schema),)),
        key(tools=(Tool("look", "Look.", {**schema, "required": ["word"]}),)),
    }
    assert len(keys) == 5
    assert key(reference_calls=(ToolCall.of("look"),)) == key()


async def test_equal_conversations_at_the_same_time_are_sent_once() -> None:
    waiting = asyncio.Event()

    async def slow(request: Request) -> Response:
        await waiting.wait()
        return policy(request)

    backend = FakeBackend(slow)
    model = Model(wrap(backend))
    talking = asyncio.gather(*(talk(model) for _ in range(5)))
    await asyncio.sleep(0)
    waiting.set()
    told = await talking
    assert all(one == told[0] for one in told)
    assert len(backend.requests) < 15


async def test_a_failure_in_the_middle_is_tried_again() -> None:
    failures = [ServerFailed("500")]

    def unsteady(request: Request) -> Response:
        if len(request.messages) > 2 and failures:
            raise failures.pop()
        return policy(request)

    backend = FakeBackend(unsteady)
    backend.traits = BackendTraits(cacheable=False)
    model = Model(wrap(backend))
    assert (await talk(model))[-1] == "Both are drugs."
    assert sum(call.response.retries for call in model.calls) == 1


async def test_a_secret_in_a_call_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-12345-abcdefgh-67890-ijkl"
    monkeypatch.setenv("SOME_API_KEY", secret)
    remember(None, "")  # the environment is read again
    call = ToolCall("1", "look", {"word": secret, "list": [secret]})
    broken = ToolCall("2", "look", None, f'{{"word": "{secret}')
    response = Response(text="", tool_calls=(call, broken), native={"calls": [{"word": secret}]})
    masked = await Masked(FakeBackend(lambda request: response)).send(Request(prompt="?"))
    assert secret not in str(masked)
    assert [c.id for c in masked.tool_calls] == ["1", "2"]
    assert masked.tool_calls[0].arguments["word"].startswith("[secret ")


def test_messages_keep_their_calls_when_their_pictures_are_converted() -> None:
    picture = Image.of(plain_png(64, 64, (220, 30, 30)))
    message = Message("tool", (Text("Look:"), picture), tool_call_id="1", native={"a": 1})
    (ready,) = ready_messages((message,), MediaSupport())
    assert (ready.tool_call_id, ready.native) == ("1", {"a": 1})


async def test_half_an_emoji_in_a_result_loses_nothing_else() -> None:
    @tool
    def half() -> str:
        """Return half an emoji."""
        return "x\ud83d"

    calls = (ToolCall.of("half"),)
    backend = FakeBackend(
        lambda r: Response(text="") if len(r.messages) > 1 else Response(text="", tool_calls=calls)
    )
    await converse(Model(backend), "?", tools=[half])
    turn, result = backend.requests[-1].messages[1:]
    assert (result.content, result.tool_call_id) == ("x\ufffd", turn.tool_calls[0].id)


def test_other_calls_are_other_weights() -> None:
    one, same, other = (
        Response(text="", tool_calls=(ToolCall(id, "look", {"word": word}),))
        for id, word in (("1", "a"), ("2", "a"), ("3", "b"))
    )
    assert agree(one, same)
    assert not agree(one, other)
