"""A model that reasons, by batch: its lines and replies are those of the ordinary interface."""

from __future__ import annotations

import msgspec
import pytest

from evalkit.model import read_reply
from evalkit.models import load
from evalkit.models.reasoning import MOST_ALLOWANCE
from evalkit.types import Message, Request, Requirements
from tests.servers.thinking import CHANNELS, ThinkingModel, serve

ASK = Request(messages=(Message("user", "How many?"),), max_tokens=10, stop=("\n",))


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(("params", "room"), [("", MOST_ALLOWANCE), ("&reasoning_tokens=700", 700)])
async def test_a_line_has_room_to_think_and_its_reply_is_read_as_another(channel, params, room) -> None:
    with serve(ThinkingModel(channel, context=2 * MOST_ALLOWANCE, answers=lambda _: "7\nor 8")) as thinker:
        backend = load(f"openai:thinker@{thinker.url}?batch=true{params}")
        await backend.probe(Requirements())
        plain = read_reply(ASK, await backend.send(ASK))
        service = backend.batches()
        assert service is not None
        body = msgspec.json.decode(service.line("0" * 64, ASK))["body"]
        assert body == {name: value for name, value in thinker.bodies[-1].items() if name != "stream"}
        assert body["max_tokens"] == 10 + room
        reply = read_reply(ASK, service.read(thinker.reply(body, body["max_tokens"], 5), ASK))
        await backend.close()
    assert (reply.text, reply.reasoning, reply.finish_reason) == ("7", plain.reasoning, "stop")
    assert (plain.text, plain.finish_reason) == ("7", "stop")


async def test_an_effort_goes_along_with_each_line() -> None:
    with serve(ThinkingModel("hidden")) as thinker:
        backend = load(f"openai:thinker@{thinker.url}?batch=true&effort=low")
        await backend.probe(Requirements())
        service = backend.batches()
        assert service is not None
        body = msgspec.json.decode(service.line("0" * 64, ASK))["body"]
        await backend.close()
    assert body["reasoning_effort"] == "low"
