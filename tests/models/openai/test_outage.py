"""A server that was away comes back: with the same model, or with other weights under the same name."""

from __future__ import annotations

import pytest
from aiohttp import web

from evalkit.errors import SetupError
from evalkit.models import load
from evalkit.models.openai.reasoning_probe import QUESTION
from evalkit.models.openai.transport import Unreachable
from evalkit.types import Message, Request, Requirements


class Weights:
    """A chat server whose answers depend on its ``weights``; some of them by chance."""

    def __init__(self, script) -> None:
        self.weights, self.chance, self.asked = "one", False, 0
        script.chat(self.answer)

    async def answer(self, request, body):
        self.asked += QUESTION not in str(body)
        text = f"{self.weights} {body['messages'][0]['content']}{self.asked if self.chance else ''}"
        return web.json_response({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


def ask(text: str, temperature: float = 0.0) -> Request:
    return Request(messages=(Message("user", text),), temperature=temperature)


@pytest.fixture
async def served(script):
    weights, backend = Weights(script), load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements())
    yield weights, backend
    await backend.close()


def goes_away(backend) -> None:
    backend._guard.doubt(backend.endpoints.urls[0], away=Unreachable.not_sent)


async def test_other_weights_after_an_outage_stop_the_run(served) -> None:
    weights, backend = served
    for i in range(5):
        await backend.send(ask(f"question {i}"))
    weights.weights = "two"
    goes_away(backend)
    with pytest.raises(SetupError, match="was away, and answers the same requests differently"):
        await backend.send(ask("next"))


async def test_the_same_weights_go_on_after_three_answers_were_compared(served) -> None:
    weights, backend = served
    for i in range(5):
        await backend.send(ask(f"question {i}"))
    goes_away(backend)
    assert (await backend.send(ask("next"))).text == "one next"
    assert weights.asked == 5 + 3 + 1
    assert (await backend.send(ask("after"))).text == "one after"
    assert weights.asked == 5 + 3 + 2, "once for each outage"


@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_server_that_answers_by_chance_is_not_taken_for_another(served, temperature: float) -> None:
    weights, backend = served
    weights.chance = temperature == 0.0
    await backend.send(ask("question", temperature))
    goes_away(backend)
    assert (await backend.send(ask("next", temperature))).text.startswith("one next")


async def test_a_broken_connection_alone_compares_no_answers(served) -> None:
    weights, backend = served
    await backend.send(ask("question"))
    backend._guard.doubt(backend.endpoints.urls[0], away=False)
    await backend.send(ask("next"))
    assert weights.asked == 2
