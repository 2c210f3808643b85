"""What a task sees of a model."""

from __future__ import annotations

import asyncio

import pytest

from evalkit.errors import UsageError
from evalkit.model import Model
from evalkit.models.fake import FakeBackend
from evalkit.types import Image, Message, Request, Response, Sample, Text


def model(**defaults) -> Model:
    return Model(FakeBackend(lambda request: "yes"), defaults=defaults)


async def test_a_string_is_one_user_message_and_calls_are_remembered():
    whole = model()
    one = whole.for_sample(Sample("1", "a"), 2)
    response = await one.generate("hello", max_tokens=5, stop="\n")
    (call,) = one.calls
    assert call.response is response
    assert call.request.messages == (Message("user", "hello"),)
    assert (call.request.max_tokens, call.request.stop, call.request.repeat) == (5, ("\n",), 2)
    assert call.request.sample == Sample("1", "a")
    assert whole.calls == []


async def test_samples_do_not_mix():
    whole = model()
    bound = [whole.for_sample(Sample(str(i), "a")) for i in range(20)]
    await asyncio.gather(*(b.generate(f"q{i}") for i, b in enumerate(bound)))
    assert [b.calls[0].request.sample.id for b in bound] == [str(i) for i in range(20)]
    assert all(len(b.calls) == 1 for b in bound)


async def test_the_task_comes_before_the_spec_and_the_spec_before_the_default():
    speaking = model(max_tokens=7, temperature=0.5, stop=("END",), extra={"top_k": 3, "user": "me"})
    await speaking.generate("a", temperature=0.0, top_k=9)
    await speaking.generate("b")
    first, second = (call.request for call in speaking.calls)
    assert (first.max_tokens, first.temperature, first.extra) == (7, 0.0, {"top_k": 9, "user": "me"})
    assert (second.temperature, second.top_p, second.stop) == (0.5, 1.0, ("END",))
    with pytest.raises(UsageError, match="Did you mean 'temperature'"):
        model(temprature=1)


async def test_images():
    speaking, picture = model(), Image.of(b"bytes")
    await speaking.generate("what?", images=[picture])
    request = speaking.calls[0].request
    assert request.messages[0].content == (picture, Text("what?"))
    described = speaking.describe(request)
    assert described["messages"][0]["content"] == [
        {"type": "image", "sha256": picture.sha256, "media_type": "image/png"},
        {"type": "text", "text": "what?"},
    ]
    assert "sample" not in described
    with pytest.raises(UsageError, match="Image parts"):
        await speaking.generate([Message("user", "what?")], images=[picture])


async def test_loglikelihood_keeps_the_order():
    lengths = Model(FakeBackend(lambda r: Response(text="", logprobs=(-float(len(r.continuation)),))))
    found = await lengths.loglikelihood("context", [" long", " a", " mid"])
    assert [r.logprob for r in found] == [-5.0, -2.0, -4.0]
    assert {call.request.prompt for call in lengths.calls} == {"context"}
    with pytest.raises(ValueError, match="no log-probabilities"):
        _ = Response(text="").logprob


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": float("nan")}, "the task's temperature=nan: must be a number from 0 to 100"),
        ({"temperature": -1.0}, "temperature=-1.0: must be a number from 0 to 100"),
        ({"temperature": "hot"}, "temperature='hot': must be a number"),
        ({"top_p": 7.0}, "top_p=7.0: must be a number from 0 to 1"),
        ({"top_p": float("inf")}, "top_p=inf: must be a number from 0 to 1"),
        ({"max_tokens": 0}, "max_tokens=0: must be a whole number from 1"),
        ({"max_tokens": 1.5}, "max_tokens=1.5: must be a whole number"),
        ({"max_tokens": True}, "max_tokens=True: must be a whole number"),
        ({"seed": 2**63}, "seed=9223372036854775808: must be a whole number"),
        ({"seed": 1.0}, "seed=1.0: must be a whole number"),
    ],
)
async def test_a_parameter_of_a_task_that_cannot_be_one_is_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        await model().generate("q", **wrong)
    with pytest.raises(UsageError, match=words):
        await model().complete("q", **wrong)
    with pytest.raises(UsageError, match="generation default"):
        Model(FakeBackend(lambda request: "no"), defaults=wrong)


async def test_what_the_spec_leaves_out_is_left_out_where_the_task_sets_it_too():
    sent: list[Request] = []
    unset = Model(
        FakeBackend(lambda request: sent.append(request) or "yes"), defaults={"extra": {"top_k": None}}
    )
    await unset.generate("q", top_k=5, user="me")
    assert sent[0].extra == {"top_k": None, "user": "me"}


async def test_a_request_says_what_was_set_and_not_what_evalkit_adds():
    sent: list[Request] = []
    asked = Model(FakeBackend(lambda request: sent.append(request) or "yes"), defaults={"seed": 3})
    await asked.generate("q", temperature=0.0)
    assert set(sent[0].given) == {"seed", "temperature"}
    assert "given" not in asked.describe(sent[0])


async def test_any_models_reply_is_read_behind_its_reasoning_and_cut_at_stop_strings():
    thinking = Model(FakeBackend(lambda request: "<think>no\n\nyes?</think>yes\n\nNext question"))
    response = await thinking.generate("q", stop=["?", "\n\n"])
    assert (response.text, response.reasoning) == ("yes", "no\n\nyes?")
    assert response.notes == ("the server ignored the stop string '\\n\\n': cut there",)
    reply = '{"answer": "so <think> is"}'
    constrained = Model(FakeBackend(lambda request: reply))
    assert (await constrained.generate("q", json_schema={})).text == ""  # no constraint: an open mark
    assert (await constrained.generate("q", json_schema={"type": "object"})).text == reply


async def test_half_an_emoji_in_a_prompt_or_a_reply_becomes_the_replacement_character():
    echo = Model(FakeBackend(lambda request: str(request.messages[-1].content) + "\ud83d"))
    response = await echo.generate("a \ude00")
    assert (response.text, echo.calls[0].request.messages[0].content) == ("a ��", "a �")
    await echo.generate([Message("user", (Text("b \ud83d"), Image.of(b"x")))])
    assert echo.calls[1].request.messages[0].content[0] == Text("b �")


async def test_each_repeat_and_each_draw_has_a_seed_of_its_own() -> None:
    seeded = Model(FakeBackend(lambda request: "a"), defaults={"seed": 7, "temperature": 1.0})
    sample = Sample("s", "?")
    seeds = []
    for repeat in range(4):
        bound = seeded.for_sample(sample, repeat)
        await bound.generate("hi")
        await bound.complete("hi", seed=100)
        await bound.draw(1).generate("hi")
        seeds += [call.request.seed for call in bound.calls]
    assert seeds[::3] == [7, 8, 9, 10]
    assert seeds[1::3] == [100, 101, 102, 103]
    assert len(set(seeds)) == 12
    unseeded = Model(FakeBackend(lambda request: "a")).for_sample(sample, 3)
    await unseeded.generate("hi")
    assert unseeded.calls[0].request.seed is None
