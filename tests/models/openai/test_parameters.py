"""Parameters that a server refuses: found by the probe and left out, or named with what helps."""

from __future__ import annotations

import json

import pytest
from aiohttp import web

from evalkit.errors import RequestRejected, UsageError
from evalkit.model import Model
from evalkit.models import load
from evalkit.types import Requirements
from tests.models.openai.refusing import (
    PENALTIES,
    REFUSALS,
    a_web_page,
    openai_error,
    reasoning_model,
    says,
    strict_openai,
    takes_one_temperature,
    xai,
)
from tests.models.script import Script


def serve(script, refuse) -> None:
    async def answer(request, body):
        if (failure := refuse(body)) is not None:
            if isinstance(failure[1], str):
                return web.Response(text=failure[1], status=failure[0], content_type="text/html")
            return web.json_response(failure[1], status=failure[0])
        return web.json_response({"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]})

    script.chat(answer)


def chats(script) -> list[dict]:
    return [body for path, body in script.seen if path.endswith("/chat/completions")]


@pytest.mark.parametrize(("refuse", "left_out"), REFUSALS.values(), ids=list(REFUSALS))
async def test_a_refused_default_is_found_by_the_probe_and_left_out(script, refuse, left_out):
    serve(script, refuse)
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    told = len(chats(script))
    response = await Model(backend).generate("2+2?", max_tokens=9)
    await backend.close()
    assert (response.text, response.notes) == ("4", ())
    assert set(info.server.get("left_out", {})) == left_out
    assert info.identity.get("left_out", []) == sorted(left_out - {"stream"})
    (sent,) = chats(script)[told:]  # refused once more would be asked twice
    assert left_out.isdisjoint(sent)
    assert 9 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    everything = {"temperature", "top_p", "n", *PENALTIES, "top_k", "min_p", "repetition_penalty", "stream"}
    assert sent.keys() >= everything - left_out


async def test_the_provenance_has_the_servers_words(script):
    serve(script, reasoning_model)
    backend = load(f"openai:tiny@{script.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    assert left_out["temperature"].startswith("Unsupported value: 'temperature' does not support 0 with this")


async def test_a_server_that_takes_all_gets_all_and_has_its_former_identity(script):
    serve(script, lambda body: None)
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    await backend.close()
    assert "left_out" not in info.identity
    assert "left_out" not in info.server
    (sent,) = chats(script)
    assert (sent["temperature"], sent["top_k"], sent["stream"]) == (0.0, -1, False)


@pytest.mark.parametrize(
    ("params", "refuse", "words"),
    [
        ("temperature=0.7", reasoning_model, r"The model's spec sets temperature=0\.7: take it out"),
        ("temperature=0", reasoning_model, r"The model's spec sets temperature=0\.0: take it out"),
        ("extra.top_k=5", strict_openai, r"The model's spec sets extra\.top_k=5: take it out"),
        ("temperature=0.6", takes_one_temperature, r"The model's spec sets temperature=0\.6: take it out"),
        ("seed=3", lambda body: openai_error("seed is not supported") if "seed" in body else None, "seed=3"),
        ("stop=END", xai, r"The model's spec sets stop=\['END'\]: take it out"),
        (
            "extra.user=me",
            lambda body: (400, {"error": "unknown field 'user'"}),
            r"sets extra\.user=me: take it",
        ),
        (
            "stream=true",
            lambda body: (400, {"error": "'stream' is not supported"}) if body.get("stream") else None,
            "The model's spec sets stream=True: take it out",
        ),
    ],
)
async def test_what_the_spec_sets_is_never_left_out_in_silence(script, params, refuse, words):
    serve(script, refuse)
    backend = load(f"openai:tiny@{script.url}?{params}")
    with pytest.raises(UsageError, match=words):
        await backend.probe(Requirements())
    await backend.close()


@pytest.mark.parametrize(
    ("sets", "refuse", "words"),
    [
        ({"temperature": 0.5}, reasoning_model, r"The task sets temperature=0\.5.*add \?temperature=unset"),
        ({"temperature": 0.0}, reasoning_model, r"The task sets temperature=0\.0.*add \?temperature=unset"),
        ({"stop": ["\n"]}, xai, r"The task sets stop=.*add \?stop=unset"),
        ({"top_k": 5}, strict_openai, r"The task sets top_k=5.*add \?extra\.top_k=unset"),
    ],
)
async def test_what_a_task_sets_is_never_left_out_in_silence(script, sets, refuse, words):
    serve(script, refuse)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements())
    with pytest.raises(UsageError, match=words):
        await Model(backend).generate("2+2?", **sets)
    assert (await Model(backend).generate("2+2?")).text == "4"  # other samples go on
    await backend.close()


@pytest.mark.parametrize(
    ("sets", "message", "words"),
    [
        ({"seed": 3}, "Unbekannter Parameter: seed", r"The task sets seed=3.*add \?seed=unset"),
        ({"temperature": 1.5}, "temperature must be below 1", r"The task sets temperature=1\.5"),
    ],
)
async def test_words_that_are_not_known_and_name_what_a_task_sets_come_with_what_helps(
    script, sets, message, words
):
    (name,) = sets
    serve(script, lambda body: openai_error(message) if body.get(name) == sets[name] else None)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements())
    with pytest.raises(RequestRejected, match=words):
        await Model(backend).generate("2+2?", **sets)
    await backend.close()


async def test_what_a_task_sets_goes_out_although_the_default_was_refused(script):
    serve(script, reasoning_model)
    backend = load(f"openai:tiny@{script.url}")
    await backend.probe(Requirements())
    assert (await Model(backend).generate("2+2?", temperature=1.0)).text == "4"
    assert chats(script)[-1]["temperature"] == 1.0
    await backend.close()


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_tokens", "seed", "stop"])
async def test_each_generation_parameter_can_be_left_out_by_hand(script, name):
    serve(script, reasoning_model if name == "max_tokens" else lambda body: None)
    backend = load(f"openai:tiny@{script.url}?{name}=unset&extra.n=unset")
    await backend.probe(Requirements())
    sets = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 5, "seed": 3, "stop": ["x"]}
    await Model(backend, defaults=backend.traits.defaults).generate("2+2?", **sets)
    await backend.close()
    sent = chats(script)[-1]
    assert {name, "n"}.isdisjoint(sent)
    assert name != "max_tokens" or "max_completion_tokens" not in sent
    assert sent.keys() >= sets.keys() - {name, "max_tokens"}


async def test_a_refusal_after_the_probe_is_noted_with_each_reply(script):
    refusing = False

    def later(body):
        return reasoning_model(body) if refusing else None

    serve(script, later)
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    model = Model(backend)
    assert (await model.generate("2+2?")).notes == ()
    refusing = True
    notes = [(await model.generate("2+2?")).notes for _ in range(2)]
    await backend.close()
    assert "left_out" not in info.identity
    names = ", ".join(sorted(("temperature", *PENALTIES)))
    note = f"sent without {names}, which the server refused after the probe"
    assert notes == [(note,), (note,)]


async def test_a_server_that_refuses_both_names_of_the_length_is_not_asked_for_ever(script):
    def neither(body):
        name = next((n for n in ("max_tokens", "max_completion_tokens") if n in body), None)
        return (
            openai_error(f"Unsupported parameter: '{name}'", name, "unsupported_parameter") if name else None
        )

    serve(script, neither)
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(RequestRejected, match="Unsupported parameter"):
        await Model(backend).generate("2+2?")
    assert len(script.seen) == 2
    await backend.close()


async def test_the_length_that_the_user_names_is_the_only_one(script):
    serve(script, lambda body: None)
    backend = load(f"openai:tiny@{script.url}?extra.max_completion_tokens=77")
    await Model(backend, defaults=backend.traits.defaults).generate("2+2?", max_tokens=9)
    await backend.close()
    (sent,) = chats(script)
    assert (sent.get("max_tokens"), sent["max_completion_tokens"]) == (None, 77)


@pytest.mark.parametrize(
    "message",
    [
        "maximum context length is 10 tokens: lower max_tokens, and stop",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "This model does not support images",
        "Invalid schema for response_format: 'seed' is not permitted",
        "messages.0.content: Extra inputs are not permitted",
        "This content type is not supported. " + "x" * 150 + "'temperature': 0.0, 'top_k': -1",
    ],
)
async def test_another_mistake_is_reported_as_it_is_and_leaves_nothing_out(script, message):
    param = "response_format" if "schema" in message else None
    serve(script, lambda body: openai_error(message, param))
    backend = load(f"openai:tiny@{script.url}")
    with pytest.raises(RequestRejected) as caught:
        await Model(backend).generate("2+2?", seed=3, stop=["x"])
    assert "unset" not in str(caught.value)
    assert len(script.seen) == 1
    assert not backend.parameters.left_out
    await backend.close()


async def test_a_refusal_in_a_stream_and_of_its_options(script):
    def refuse(body):
        if "stream_options" in body:
            return 400, {"error": {"message": "stream_options: Extra inputs are not permitted"}}
        return reasoning_model(body)

    async def answer(request, body):
        if (failure := refuse(body)) is not None:
            return web.json_response(failure[1], status=failure[0])
        event = json.dumps({"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]})
        return web.Response(text=f"data: {event}\n\ndata: [DONE]\n\n", content_type="text/event-stream")

    script.chat(answer)
    backend = load(f"openai:tiny@{script.url}?stream=true")
    info = (await backend.probe(Requirements())).info
    assert set(info.server["left_out"]) == {"stream_options", "temperature", *PENALTIES}
    assert (await Model(backend).generate("2+2?")).text == "4"
    await backend.close()


async def test_a_completion_and_a_prompt_that_is_read_leave_out_what_is_refused(script):
    async def completions(request, body):
        if "min_p" in body:
            return web.json_response({"error": "unknown field min_p"}, status=400)
        return web.json_response({"choices": [{"text": "4", "finish_reason": "stop"}]})

    script.replies["/v1/completions"] = completions
    backend = load(f"openai:tiny@{script.url}?api=completions")
    info = (await backend.probe(Requirements())).info
    assert set(info.server["left_out"]) == {"min_p"}
    assert (await Model(backend).complete("2+2=")).text == "4"
    await backend.close()


async def test_a_question_that_is_refused_without_any_default_costs_three_requests_and_changes_nothing(
    script,
):
    """A base model without a chat template: the task asks it otherwise."""
    serve(script, lambda body: openai_error("the model has no chat template"))
    backend = load(f"openai:tiny@{script.url}")
    info = (await backend.probe(Requirements())).info
    await backend.close()
    assert "left_out" not in info.identity
    assert len(chats(script)) == 3  # the question, without the defaults, with the other name of the length


async def test_what_is_left_out_by_trial_is_said_in_the_servers_words(script):
    serve(script, a_web_page)
    backend = load(f"openai:tiny@{script.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    assert left_out == {"top_k": "400 Bad Request (a web page, as a proxy sends it)"}


async def test_fields_that_fastapi_refuses_are_said_in_words(script):
    wrong = {"type": "extra_forbidden", "loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}
    refusal = 422, {"detail": [{**wrong, "input": -1}]}
    serve(script, lambda body: refusal if "top_k" in body else None)
    backend = load(f"openai:tiny@{script.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    assert left_out == {"top_k": "'top_k': Extra inputs are not permitted (it is -1)"}


@pytest.mark.parametrize("params", ["temperature=unset", "temperature=1", "temperature=unset&effort=low"])
async def test_a_refused_default_that_no_sample_would_have_is_not_said_to_be_left_out(script, params):
    """The probe's own requests have temperature 0 (of pictures, of effort); those of samples do not."""
    thought = {"content": "4", "reasoning_content": "2 and 2"}

    async def answer(request, body):
        if (failure := takes_one_temperature(body)) is not None:
            return web.json_response(failure[1], status=failure[0])
        message = {**thought, "reasoning_content": "hm " * (1 + ("reasoning_effort" in body))}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    script.chat(answer)
    backend = load(f"openai:tiny@{script.url}?{params}")
    probed = await backend.probe(Requirements())
    response = await Model(backend, probed=probed).generate("2+2?")
    await backend.close()
    assert "left_out" not in probed.info.server
    assert "left_out" not in probed.info.identity
    assert (response.text, response.notes) == ("4", ())


async def test_what_one_endpoint_refuses_is_left_out_at_all(script):
    other = Script()
    await other.server.start_server()
    serve(script, says("参数错误", "top_k"))
    serve(other, says("参数错误", "min_p"))
    backend = load(f"openai:tiny@{script.url},{other.url}")
    left_out = (await backend.probe(Requirements())).info.server["left_out"]
    await backend.close()
    await other.server.close()
    assert left_out.keys() == {"top_k", "min_p"}
